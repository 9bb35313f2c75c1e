"""The optimizer, from an experiment's settings."""

import jax
import jax.numpy as jnp
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
    """Returns AdamW behind a limit on the global norm, as an Optax transformation.

    What `hyperparameters` returns are leaves of its state, `opt_state.hyperparams`, so
    that `jax.vmap` over states sweeps them. A schedule follows the learning rate found
    there, which is that of its peak.
    """
    schedule = learning_rate(settings, updates)

    def adamw(learning_rate, weight_decay, max_grad_norm):
        # Exactly one where nothing is swept, so that the schedule is that of the
        # settings, bit by bit: a compiler multiplies by the reciprocal of a constant.
        peak = jax.lax.optimization_barrier(jnp.float32(settings.learning_rate))
        share = learning_rate / peak
        return optax.chain(
            optax.clip_by_global_norm(max_grad_norm),
            optax.adamw(
                lambda update: share * schedule(update),
                b1=settings.beta1,
                b2=settings.beta2,
                eps=settings.epsilon,
                weight_decay=weight_decay,
                mask=decay_mask,
            ),
        )

    return optax.inject_hyperparams(adamw)(**hyperparameters(settings))


def hyperparameters(settings):
    """Returns the settings of an `Optimization` that can be swept, {name: number}."""
    return {
        "learning_rate": float(settings.learning_rate),
        "weight_decay": float(settings.weight_decay),
        "max_grad_norm": float(settings.max_grad_norm),
    }
