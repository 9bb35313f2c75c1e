"""A run whose rewards teach nothing, and what helps."""

from maspo_jax.objectives import validation

STEPS = 3  # in a row, after which it is said


def make_idle_alarm(experiment):
    """Returns what is asked after every step: an `IdleAlarm`, or None.

    Groups whose responses earned the same may teach where an advantage compares with
    others than the group, or where rewards of steps differ and their sums do not.
    """
    objective, grader = experiment.objective, experiment.grading.grader
    of_steps = "token_reward" in objective.needs and getattr(grader, "steps", False)
    if of_steps or not validation.compares(objective, experiment.sampling.responses):
        return None
    return IdleAlarm()


class IdleAlarm:
    """Says, once, that for several steps no group had rewards that differ."""

    def __init__(self, steps=STEPS):
        self._steps, self._seen, self._said = steps, 0, False

    def __call__(self, metrics):
        """Returns the warnings that are due, one line each.

        Args:
            metrics: of the responses of a step, a dict.
        """
        idle = metrics.get("frac_reward_zero_std", 0) == 1
        self._seen = self._seen + 1 if idle else 0
        if self._said or self._seen < self._steps:
            return []
        self._said = True
        return [
            f"warning: for {self._seen} steps the responses to each problem all earned "
            f"the same, which teaches nothing. {remedy(metrics)} This is said once: "
            "see frac_reward_zero_std in the metrics"
        ]


def remedy(metrics):
    """Returns what helps, from the metrics of a step."""
    if metrics.get("frac_groups_all_correct") == 1:
        return "All were right: give harder problems, or end here."
    if metrics.get("frac_groups_all_wrong") != 1:
        return (
            "Some problems are too hard, the others too easy: raise "
            "sampling.responses, or give other problems."
        )
    if metrics.get("verifier/no_answer", 0) > 0.5:
        cut = metrics.get("response_length/clip_ratio", 0)
        return (
            f"All were wrong, and {metrics['verifier/no_answer']:.0%} have no answer "
            f"({cut:.0%} are cut off): ask for one with another template, train longer "
            "with sft, or raise sampling.response_length."
        )
    return (
        "All were wrong: train longer with sft, give easier problems or raise "
        "sampling.responses; and look at rollouts/, whether right answers are taken "
        "for wrong."
    )
