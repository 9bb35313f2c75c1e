"""The methods as the figures name and color them, and their weights on a grid."""

import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives import gates

# Name -> (gate with the settings of its paper, color, line), but GPPO with the bounds
# of the others, as the DGPO paper draws it. The colors are Okabe and Ito's, told apart
# by color-blind readers; the lines tell apart what is left.
METHODS = {
    "Plain IS": (gates.ImportanceSampling(), "#000000", ":"),
    "REINFORCE": (gates.Reinforce(), "#000000", "--"),
    "GRPO": (gates.Clip(), "#7F7F7F", "-"),
    "Clip-Higher": (gates.Clip(high=0.28), "#7F7F7F", "--"),
    "DAC": (gates.Dac(), "#E69F00", "--"),
    "BAPO": (gates.Bapo(), "#E69F00", "-."),
    "BAPO, as in the paper": (gates.PaperBapo(), "#7F7F7F", "-."),
    "DPPO": (gates.Dppo(), "#7F7F7F", ":"),
    "SAPO": (gates.Sapo(), "#E69F00", "-"),
    "Unilateral SAPO": (gates.UnilateralSapo(), "#E69F00", ":"),
    "MASPO": (gates.Maspo(), "#0072B2", "-"),
    "Bilateral MASPO": (gates.BilateralMaspo(), "#0072B2", ":"),
    "CISPO": (gates.Cispo(), "#009E73", "-"),
    "GPPO": (gates.Gppo(high=0.2), "#56B4E9", "--"),
    "CE-GPPO": (gates.CeGppo(), "#CC79A7", "-"),
    "ASPO": (gates.Aspo(), "#F0E442", "-"),
    "DGPO": (gates.Dgpo(), "#D55E00", "-"),
    "GSPO": (gates.Gspo(), "#56B4E9", "-."),
    "GMPO": (gates.Gmpo(), "#009E73", "-."),
}


def gate_on(gate, ratio, advantage, q):
    """Returns the gate of single tokens as NumPy.

    Every token is a response of its own. Gates that are fitted to a batch are fitted
    to `synthetic_batch`.

    Args:
        gate: a gate from `objectives.gates`.
        ratio: numbers above zero.
        advantage: broadcastable to them.
        q: probability under the anchor, broadcastable to them.
    """
    ratio, advantage, q = np.broadcast_arrays(ratio, advantage, q)
    one = lambda x: jnp.asarray(x, jnp.float32)[..., None]  # responses of one token
    if isinstance(gate, gates.BatchFitted):
        gate = gate.fit(*synthetic_batch(), total=lambda number: number)
    value = gate(jnp.log(one(ratio)), one(advantage), jnp.log(one(q)))
    return np.asarray(value[..., 0], np.float64)


def synthetic_batch(rows=64, length=128):
    """Log-ratio, advantage and log q of a batch with more failures than successes."""
    draw = np.random.default_rng(0)
    old = -draw.exponential(0.7, (rows, length))
    log_ratio = np.minimum(draw.normal(0, 0.5, old.shape), -old)
    success = draw.random((rows, 1)) < 0.34
    advantage = np.broadcast_to(np.where(success, 1.4, -0.75), old.shape)
    return tuple(jnp.asarray(x, jnp.float32) for x in (log_ratio, advantage, old))
