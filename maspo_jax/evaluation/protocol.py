"""How the responses of an evaluation are drawn. Loads nothing that takes time.

The defaults of `Evaluation` are the protocol of the MASPO and DGPO papers as far as it
is known: 32 responses to each problem of six benchmarks. Temperature, top-p and the
lengths are stand-ins, those that FlowRL publishes, from where both take their data.
"""

import dataclasses

from maspo_jax.settings import check_intervals, setting

PROMPT_LENGTH, RESPONSE_LENGTH = 2048, 8192  # of FlowRL
MOST_SAMPLES = 1000  # `statistics.estimators.MOST`


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How responses are drawn. Truncation is allowed: nothing is trained on them."""

    prompt_length: int = setting(PROMPT_LENGTH, "[1, inf)")  # tokens
    response_length: int = setting(RESPONSE_LENGTH, "[1, inf)")  # the end included
    # Responses to each problem; at most so many, for majority@k draws subsets of them.
    samples: int = setting(32, f"[1, {MOST_SAMPLES}]")
    temperature: float = setting(0.6, "[0, inf)")  # 0 is greedy
    top_p: float = setting(0.95, "(0, 1]")
    seed: int = setting(0, "[0, 4294967296)")

    def __post_init__(self):
        """Refuses what cannot be drawn."""
        check_intervals(self)
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"samples={self.samples} with temperature=0: greedy responses to a "
                "problem are all the same; draw 1, or raise the temperature"
            )
