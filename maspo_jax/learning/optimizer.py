"""The optimizer, from an experiment's settings."""

import zlib

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
        adamw = optax.adamw(
            lambda update: share * schedule(update),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=weight_decay,
            mask=decay_mask,
        )
        if settings.moments_dtype == "bfloat16":
            adamw = narrow_moments(adamw)
        return optax.chain(optax.clip_by_global_norm(max_grad_norm), adamw)

    return optax.inject_hyperparams(adamw)(**hyperparameters(settings))


def narrow_moments(optimizer):
    """Returns an optimizer whose moments of Adam are bfloat16 between its updates.

    Rounding is stochastic. To the nearest, a second moment could not follow: with a
    decay of 0.999 it changes by a part in a thousand, and bfloat16 has one in 256.

    Args:
        optimizer: an Optax transformation with a state of `optax.scale_by_adam`.
    """
    adam = optax.ScaleByAdamState
    is_adam = lambda node: isinstance(node, adam)

    def change(state, moment):
        of_adam = lambda node: node._replace(
            mu=moment("mu", node.mu, node.count), nu=moment("nu", node.nu, node.count)
        )
        return jax.tree.map(
            lambda node: of_adam(node) if is_adam(node) else node,
            state,
            is_leaf=is_adam,
        )

    def widen(_, tree, __):
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)

    def narrow(name, tree, count):
        def leaf_of(path, leaf):
            name_of_leaf = name + jax.tree_util.keystr(path)
            key = jax.random.key(zlib.crc32(name_of_leaf.encode()))
            return round_stochastically(leaf, jax.random.fold_in(key, count))

        return jax.tree_util.tree_map_with_path(leaf_of, tree)

    def init(params):
        return change(optimizer.init(params), narrow)

    def update(grads, state, params):
        steps, state = optimizer.update(grads, change(state, widen), params)
        return steps, change(state, narrow)

    return optax.GradientTransformation(init, update)


def round_stochastically(x, key):
    """Rounds to bfloat16, up or down at random, so that the mean is the number.

    Args:
        x: [...] float32, finite.
        key: a key of `jax.random`.
    """
    # A bfloat16 is the upper half of a float32: what is added to the lower half carries
    # into the upper one as often as it should.
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    upper = (bits + noise) >> 16
    return jax.lax.bitcast_convert_type(upper.astype(jnp.uint16), jnp.bfloat16)


def hyperparameters(settings):
    """Returns the settings of an `Optimization` that can be swept, {name: number}."""
    return {
        "learning_rate": float(settings.learning_rate),
        "weight_decay": float(settings.weight_decay),
        "max_grad_norm": float(settings.max_grad_norm),
    }
