"""What a check found, and how often it found what."""

import collections
import dataclasses

OUTCOMES = ("correct", "wrong", "no_answer", "unparsed", "timeout", "error")


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check, the text it judged and the rule that decided."""

    outcome: str  # one of OUTCOMES
    answer: str | None
    rule: str

    @property
    def reward(self):
        """1.0 for a correct answer; everything else, undecided included, is 0.0."""
        return float(self.outcome == "correct")


def rates(verdicts):
    """Returns {"verifier/OUTCOME": share} over all outcomes, as metrics."""
    counts = collections.Counter(verdict.outcome for verdict in verdicts)
    total = max(len(verdicts), 1)
    return {f"verifier/{name}": counts[name] / total for name in OUTCOMES}
