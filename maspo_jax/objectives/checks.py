"""Refuses what is ascended, before anything is compiled, if it cannot work."""

from maspo_jax.objectives import gates


def check_objective(objective, response_length):
    """Raises ValueError, naming the setting, unless an objective can work.

    Args:
        objective: a `config.Objective`.
        response_length: T, in tokens.
    """
    gates.check(objective.gate)
    if objective.correction is not None:
        gates.check(objective.correction)
        if objective.anchor == "sampler":
            raise ValueError(
                "objective.correction: ratios anchored to the sampler correct for it "
                "already; set objective.anchor to trainer or leave the correction out"
            )
    if not 0 <= objective.overlong_buffer <= response_length:
        raise ValueError(
            f"objective.overlong_buffer={objective.overlong_buffer}: must lie in "
            f"[0, sampling.response_length={response_length}]"
        )
    if objective.entropy_advantage and objective.entropy_kappa <= 1:
        raise ValueError(
            f"objective.entropy_kappa={objective.entropy_kappa}: must be above 1, or "
            "advantages would change their sign"
        )
