"""The methods as the figures name and color them, and their weights on a grid."""

import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives import gates

# Name -> (gate with the settings of its paper, color, line). The colors are Okabe
# and Ito's, told apart by color-blind readers; the lines tell apart what is left.
METHODS = {
    "Plain IS": (gates.ImportanceSampling(), "#000000", ":"),
    "REINFORCE": (gates.Reinforce(), "#000000", "--"),
    "GRPO": (gates.Clip(), "#7F7F7F", "-"),
    "Clip-Higher": (gates.Clip(high=0.28), "#7F7F7F", "--"),
    "DAC": (gates.Dac(), "#E69F00", "--"),
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
}


def gate_on(gate, ratio, advantage, q):
    """Returns the gate of single tokens as NumPy.

    Args:
        gate: a gate from `objectives.gates`.
        ratio: numbers above zero.
        advantage: broadcastable to them.
        q: probability under the anchor, broadcastable to them.
    """
    ratio, advantage, q = np.broadcast_arrays(ratio, advantage, q)
    one = lambda x: jnp.asarray(x, jnp.float32)[..., None]  # responses of one token
    value = gate(jnp.log(one(ratio)), one(advantage), jnp.log(one(q)))
    return np.asarray(value[..., 0], np.float64)
