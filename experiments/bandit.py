"""Where each gate stops, slows down or speeds up, on a policy that is known exactly.

    python experiments/bandit.py --out DIR

Under a minute on a CPU. Above, one token of probability 0.3 is pushed by the same
batch again and again: hard clipping stops at the bound of the ratio; CISPO and
CE-GPPO speed up as the probability falls, since their weight of grad pi grows like
1 / pi; MASPO slows down a little and DGPO a lot. Below, a tree of tokens is learned
from sampled and wrongly graded responses, 64 seeds: first where every method learns
and hard clipping is slowest, then where steps are too large for the errors of the
verifier and hard clipping alone is safe.

Obtained, expected return after 60 batches (share of seeds that fail):

                calm          harsh
    Plain IS    1.00 (0%)     0.47 (53%)
    GRPO        0.97 (0%)     0.99 (0%)
    SAPO        1.00 (0%)     0.81 (19%)
    MASPO       1.00 (0%)     0.86 (14%)
    CISPO       1.00 (0%)     0.67 (33%)
    CE-GPPO     0.98 (2%)     0.70 (30%)
    DGPO        1.00 (0%)     0.83 (17%)
"""

import argparse
import pathlib

import numpy as np

from maspo_jax.figures import style, testbed_curves


def main():
    """Draws the picture and prints the table above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="for the picture")
    parser.add_argument("--seeds", type=int, default=64)
    arguments = parser.parse_args()
    pathlib.Path(arguments.out).mkdir(parents=True, exist_ok=True)
    print(style.save(testbed_curves.testbed, arguments.out, seeds=arguments.seeds))
    for title, tree, regime in (testbed_curves.CALM, testbed_curves.HARSH):
        print(title)
        studies = testbed_curves.study(tree, regime, arguments.seeds)
        for name, record in studies.items():
            final = np.asarray(record.accuracy)[:, -1]
            print(f"  {name:9} {final.mean():.2f} ({np.mean(final < 0.5):.0%} fail)")


if __name__ == "__main__":
    main()
