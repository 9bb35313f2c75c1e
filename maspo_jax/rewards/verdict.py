"""What a check found, how often it found what, and when that calls for a look."""

import dataclasses
import math

OUTCOMES = ("correct", "wrong", "no_answer", "unparsed", "timeout", "error")

# Outcomes that earn 0 although nobody knows that the answer is wrong, and the share
# of a batch above which they distort the reward enough to be looked into.
UNDECIDED = {"unparsed": 0.2, "timeout": 0.02, "error": 0.0}


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check, the answer checked, the rule and the reward.

    A correct answer earns 1.0 and everything else, undecided included, 0.0, unless a
    grader says otherwise: partial credit is any finite number.

    A grader of steps says what each part of the response earns (process rewards):
    `steps` are pairs of where a part ends, in characters of the text that was graded,
    and its reward, in order. Their sum is the reward.

    Raises:
        ValueError: no such outcome, a reward that is not finite, or steps out of order
            or beside a reward of their own.
    """

    outcome: str  # one of OUTCOMES
    answer: str | None
    rule: str
    reward: float | None = None  # None: 1.0 if correct, else 0.0
    steps: tuple[tuple[int, float], ...] = ()

    def __post_init__(self):
        """Fills in the usual reward."""
        if self.outcome not in OUTCOMES:
            raise ValueError(
                f"outcome={self.outcome!r}: choose one of {', '.join(OUTCOMES)}"
            )
        if self.steps:
            if self.reward is not None:
                raise ValueError(
                    f"reward={self.reward} beside steps: leave it out, it is their sum"
                )
            ends = [end for end, _ in self.steps]
            if ends != sorted(ends) or ends[0] < 0:
                raise ValueError(f"steps end at {ends}: must be in order, from 0 on")
            total = math.fsum(reward for _, reward in self.steps)
            object.__setattr__(self, "reward", total)
        if self.reward is None:
            object.__setattr__(self, "reward", float(self.outcome == "correct"))
        if not math.isfinite(self.reward):
            raise ValueError(f"reward={self.reward}: must be finite")


# The rule of an answer that is wrong because nothing proved it right: another machine,
# or one with more to do, may decide otherwise, as with a timeout.
UNPROVED = "not proved equal"


class Alarm:
    """Says of each undecided outcome, once, that it has become too frequent."""

    def __init__(self, levels=None):
        """Takes {outcome: share above which to ring}; by default `UNDECIDED`."""
        self.levels = UNDECIDED if levels is None else levels
        self._rung = set()

    def __call__(self, shares, verdicts):
        """Returns the warnings that are due, one line each.

        Args:
            shares: {"verifier/OUTCOME": share}, as the metrics of a step have them.
            verdicts: where an example may be found.
        """
        warnings = []
        for outcome, level in self.levels.items():
            share = shares[f"verifier/{outcome}"]
            if share <= level or outcome in self._rung:
                continue
            self._rung.add(outcome)
            examples = (v for v in verdicts if v.outcome == outcome)
            example = next(examples, None)
            seen = example and f" For example {example.answer!r:.80}: {example.rule}."
            warnings.append(
                f"answer checker: {share:.1%} of the answers ended as {outcome}, more "
                f"than {level:.0%}; they earn 0, right or wrong.{seen or ''}"
            )
        return warnings
