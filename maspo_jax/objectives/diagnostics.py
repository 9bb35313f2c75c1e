"""What a gate did to a batch: ratios, gates, and who was affected."""

import jax.numpy as jnp

from maspo_jax.objectives.surrogate import log_ratios

BAND = 0.2  # the ratio band of PPO, to count the tokens that leave it
UNCERTAIN = 0.9  # tokens the old policy gave less than this could have gone otherwise


def diagnose(logprob, entropy, gate, batch):
    """Returns the sums from which `summarize` makes metrics.

    All are sums over tokens, so they add over devices and microbatches.

    Args:
        logprob: [N, T] under the current policy.
        entropy: [N, T] of the current policy.
        gate: [N, T], the value of the gate.
        batch: the `TrainBatch`.

    Returns:
        A dict of scalars.
    """
    trained = batch.weight != 0
    log_ratio = log_ratios(logprob, batch)
    ratio = jnp.exp(log_ratio)
    uncertain = trained & (batch.old_logprob < jnp.log(UNCERTAIN))
    outside = jnp.abs(ratio - 1) > BAND
    size = jnp.where(trained, jnp.abs(batch.advantage), 0)
    tokens = lambda value: jnp.sum(jnp.where(trained, value, 0))
    return {
        "tokens": tokens(1.0),
        "uncertain": jnp.sum(uncertain, dtype=jnp.float32),
        "uncertain_outside": jnp.sum(uncertain & outside, dtype=jnp.float32),
        "entropy": tokens(entropy),
        "log_ratio": tokens(log_ratio),
        "k3": tokens(jnp.expm1(log_ratio) - log_ratio),
        "gate": tokens(gate),
        "closed": tokens(gate < 0.5),
        "pull": jnp.sum(size * ratio),
        "gated_pull": jnp.sum(size * gate * ratio),
    }


def summarize(sums):
    """Turns the sums of `diagnose` over a batch into metrics.

    out_of_band: share of the tokens the old policy was uncertain of whose ratio
        left [0.8, 1.2]. approx_kl: mean of -log ratio. kl_k3: mean of
        ratio - 1 - log ratio. gate: mean. gate_closed: share of gates below one
        half. utilization: the share of the plain importance-weighted gradient, by
        absolute size, that the gate lets through.
    """
    tokens = jnp.maximum(sums["tokens"], 1)
    return {
        "entropy": sums["entropy"] / tokens,
        "out_of_band": sums["uncertain_outside"] / jnp.maximum(sums["uncertain"], 1),
        "approx_kl": -sums["log_ratio"] / tokens,
        "kl_k3": sums["k3"] / tokens,
        "gate": sums["gate"] / tokens,
        "gate_closed": sums["closed"] / tokens,
        "utilization": jnp.where(
            sums["pull"] > 0, sums["gated_pull"] / jnp.maximum(sums["pull"], 1e-30), 1
        ),
    }


def mismatch(logprob, sampled_logprob, mask):
    """Returns how far the trainer is from the sampler on the sampler's own tokens.

    Args:
        logprob: [N, T] of the trainer, under the policy that sampled.
        sampled_logprob: [N, T] of the sampler.
        mask: [N, T] bool.

    Returns:
        A dict: mismatch_max, the largest difference of log-probabilities in nats,
        and mismatch_k3, the mean of ratio - 1 - log ratio.
    """
    difference = jnp.where(mask, logprob - sampled_logprob, 0)
    k3 = jnp.expm1(difference) - difference
    return {
        "mismatch_max": jnp.max(jnp.abs(difference)),
        "mismatch_k3": jnp.sum(k3) / jnp.maximum(jnp.sum(mask), 1),
    }
