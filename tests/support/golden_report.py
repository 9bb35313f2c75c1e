"""Prints how far each method is from the released code, as a table.

    (cd tests && python -m support.golden_report) > experiments/results/gates/golden.md

The deviation of a method is that of the gradient of every token, relative to the
larger of its size and 1e-3, the worst over the batch.
"""

import jax
import numpy as np
from support import reference

from maspo_jax.objectives import token_weights
from maspo_jax.objectives.surrogate import fit, surrogate
from maspo_jax.objectives.tokens import tokens_of


def deviation(method, dtype):
    """Returns the worst relative deviation of a gradient of `method`."""
    inputs, arrays = reference.inputs_of(method), reference.load(f"policy_{method}")
    mask = inputs["mask"] != 0
    weight, expected = mask.astype(float), arrays.get("dloss_dlogp")
    factor = inputs["rollout_is_weights"] if method.endswith("_tis") else None
    if method.startswith("gmpo"):
        share = np.asarray(token_weights.sequence_mean(mask)) * mask.any(1).mean()
        weight, expected = share, arrays["official_grad"]
    batch, logprob = reference.batch(inputs, dtype, weight)
    batch = batch.replace(correction=factor)
    tokens = tokens_of(logprob, None, batch)
    gate = fit(reference.gate_of(method), tokens, total=lambda x: x)
    ours, _ = jax.grad(surrogate, has_aux=True)(logprob, batch, gate)
    ours = np.asarray(ours, np.float64)
    # Where advantages differ within a response, the code of GMPO averages them first.
    mixed = np.array([len(set(a[m])) > 1 for a, m in zip(*_rows(inputs), strict=True)])
    rows = ~mixed if method.startswith("gmpo") else np.ones(len(mixed), bool)
    scale = np.maximum(np.abs(expected), 1e-3)
    return np.max(np.where(mask, np.abs(ours - expected) / scale, 0)[rows])


def _rows(inputs):
    return inputs["advantages"], inputs["mask"] != 0


NOTE = """\
Worst deviation of the gradient over all tokens, relative to the larger of its size and
1e-3. The released code of GMPO adds 1e-8 to the length of a response, which ours does
not: hence its 2e-9."""


def main():
    """Prints the table."""
    print("| method | released code | gate | float64 | float32 |")
    print("|---|---|---|---|---|")
    with jax.enable_x64(True):
        for method, entry in reference.manifest().items():
            gate = type(reference.gate_of(method)).__name__
            worst = [f"{deviation(method, kind):.0e}" for kind in (float, np.float32)]
            cells = (method, entry["repo"].replace("+", "/"), gate, *worst)
            print(f"| {' | '.join(cells)} |")
    print()
    print(NOTE)


if __name__ == "__main__":
    main()
