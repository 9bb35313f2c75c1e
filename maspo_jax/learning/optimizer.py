"""The optimizer, from an experiment's settings."""

import optax

from maspo_jax.models.sharding import decay_mask


def learning_rate(settings, updates):
    """Returns the schedule: update number -> learning rate.

    Args:
        settings: an `Optimization`.
        updates: how many there will be; where a linear or cosine schedule ends.
    """
    peak, rise = settings.learning_rate, settings.warmup_updates
    length = max(updates - rise, 1)
    fall = {
        "constant": optax.constant_schedule(peak),
        "linear": optax.linear_schedule(peak, peak * settings.final_fraction, length),
        "cosine": optax.cosine_decay_schedule(peak, length, settings.final_fraction),
    }[settings.schedule]
    # The first update is not wasted on a rate of zero.
    climb = optax.linear_schedule(peak / (rise + 1), peak, rise) if rise else fall
    return optax.join_schedules([climb, fall], [rise]) if rise else fall


def make_optimizer(settings, updates):
    """Returns AdamW behind a limit on the global norm, as an Optax transformation."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_grad_norm),
        optax.adamw(
            learning_rate(settings, updates),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            mask=decay_mask,
        ),
    )
