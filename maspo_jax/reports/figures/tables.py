"""The property table of the DGPO paper, computed from the gates.

The paper, arXiv 2603.14389, states these properties of each method in words; here
every cell is evaluated. Dual clips, which a method may have or not, are left out.
"""

import dataclasses
import math

import numpy as np

from maspo_jax.markdown import markdown_table
from maspo_jax.reports.figures.methods import METHODS, gate_on

Q = 0.25  # probability under the anchor: ratios end at four
LARGEST_STEP = 0.02  # of g between neighbors on the grid; a jump is larger
NOTE = """\
With the ratio pi / q and the trust region [0.8, 1.2] of PPO. *g* = gate times ratio is
the weight of grad log pi, *W* = g / pi that of grad pi; plain importance sampling has
W q = 1 everywhere. *Left*: tokens with A < 0 that fell below the trust region; *right*:
tokens with A > 0 that rose above it; *reverse*: tokens that moved against A, left for
A > 0 and right for A < 0.

- *explores*: g > 0 beyond the bound, everywhere.
- *converges*: W is bounded as pi goes to 0 (left) or to 1 (right).
- *continuous*: g has no jump.
- *bias*: mean |W q - 1| from where the gate leaves one, in the trust region or beyond
  it, to 10% further, and inside of the trust region. Further out it is what *converges*
  is about.
- *reverse*: unbiased where W q is one; else whether W q is larger or smaller, and its
  mean.

Evaluated at q = 0.25, without dual clips. BAPO is fitted to a synthetic batch with more
failures than successes; for GSPO and GMPO a token is a response.
"""


@dataclasses.dataclass(frozen=True)
class Side:
    """What a method does where it gates: left for A < 0, right for A > 0."""

    explores: bool  # g > 0 everywhere
    converges: bool  # W stays bounded as pi goes to 0 (left) or to 1 (right)
    continuous: bool  # g has no jump
    bias: float  # mean |W q - 1| just beyond where the gate leaves one


@dataclasses.dataclass(frozen=True)
class Properties:
    """A row of the table."""

    left: Side
    right: Side
    bias_inside: float  # mean |W q - 1| for ratios in [0.8, 1.2], both signs
    reverse_left: float  # mean W q for A > 0 and ratios in [0.4, 0.8]
    reverse_right: float  # mean W q for A < 0 and ratios from 1.2 on


def properties(gate):
    """Returns the `Properties` of a gate at one q, its dual clip left out."""
    gate = gate.replace(dual=math.inf) if hasattr(gate, "dual") else gate
    at = lambda ratio, advantage: gate_on(gate, ratio, advantage, Q)
    distance = lambda ratio, advantage: float(np.mean(np.abs(at(ratio, advantage) - 1)))
    inside = np.linspace(0.8, 1.2, 401)[1:-1]
    return Properties(
        _side(at, -1.0, np.geomspace(1, np.exp(-7), 20001)),
        _side(at, 1.0, np.geomspace(1, 1 / Q, 20001)),
        (distance(inside, 1.0) + distance(inside, -1.0)) / 2,
        float(np.mean(at(np.linspace(0.4, 0.8, 401)[:-1], 1.0))),
        float(np.mean(at(np.linspace(1.2, 1 / Q, 401)[1:], -1.0))),
    )


def _side(at, advantage, ratio):
    gate = at(ratio, advantage)
    weight = ratio * gate
    # Ten times closer to the end: what diverges has grown, what is bounded has not.
    ends = np.exp([-14.0, -14.0 - np.log(10)]) if advantage < 0 else ratio[-2:]
    near, nearer = at(ends, advantage)
    return Side(
        explores=bool(np.all(weight > 0)),
        converges=bool(nearer < 2 * max(near, 1)),
        continuous=bool(np.max(np.abs(np.diff(weight))) < LARGEST_STEP),
        bias=_bias_beyond(ratio, np.abs(gate - 1)),
    )


def _bias_beyond(ratio, distance):
    """Returns the mean distance from one, from where there is some to 10% further.

    Args:
        ratio: from one on, to either side.
        distance: of the gate from one, there.
    """
    outside = np.abs(np.log(ratio)) >= np.abs(np.log(0.8 if ratio[-1] < 1 else 1.2))
    ratio, distance = ratio[outside], distance[outside]
    if np.all(distance < 1e-5):
        return 0.0
    start = np.argmax(distance >= 1e-5)
    near = np.abs(np.log(ratio[start:] / ratio[start])) <= np.log(1.1)
    return float(np.mean(distance[start:][near]))


def property_table():
    """Returns the table as Markdown, and what its words mean."""
    heads = ["method"]
    for side in ("left", "right"):
        heads += [f"{side}: explores / converges / continuous", f"bias {side}"]
    rows = []
    for name, (gate, _, _) in METHODS.items():
        found, row = properties(gate), [name]
        for side in (found.left, found.right):
            row += [_words(side), _bias(side.bias)]
        paces = _pace(found.reverse_left), _pace(found.reverse_right)
        rows.append([*row, _bias(found.bias_inside), *paces])
    heads += ["bias inside", "reverse left", "reverse right"]
    return f"{markdown_table(heads, rows, left=len(heads))}\n{NOTE}"


def _words(side):
    answers = (side.explores, side.converges, side.continuous)
    return " / ".join("yes" if answer else "no" for answer in answers)


def _bias(bias):
    return "none" if bias < 1e-6 else f"{bias:.2g}"


def _pace(weight):
    """Says how an update that lags behind compares with plain importance sampling."""
    if abs(weight - 1) < 1e-6:
        return "unbiased"
    return f"{'large' if weight > 1 else 'small'} ({weight:.2f})"
