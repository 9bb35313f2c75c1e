"""The state of a run: everything that going on with it takes, in one record."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class RunState:
    """What one stage of a run is after some of its steps: what a checkpoint holds.

    Keys of random numbers are not among it: they are folded from the seed and the step.
    """

    train: Any  # arrays: a `TrainState`, or a policy alone
    data: Any = None  # plain data: the position of the stream of problems
    prompt_history: dict = dataclasses.field(default_factory=dict)  # `saved()` of it
    # Optimizer updates of this stage behind the policy; None where nobody counted.
    policy_version: int | None = None

    def host(self):
        """Returns all but the arrays, as plain data."""
        return {
            "problems": self.data,
            "visits": self.prompt_history,
            "policy_version": self.policy_version,
        }

    @classmethod
    def of(cls, train, host):
        """Returns the record of arrays and of what `host` returned.

        Before it had a form of its own, the supervised stage wrote its position alone.
        """
        if "problems" not in host:
            host = {"problems": host or None}
        return cls(
            train,
            host["problems"],
            host.get("visits") or {},
            host.get("policy_version"),
        )
