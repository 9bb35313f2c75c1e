"""Where each gate stops, slows down or speeds up, on a policy that is known exactly.

    python experiments/bandit.py --out DIR

Half a minute on two CPU cores. On top, a token of probability 0.3 is pushed by the
same batch again and again: hard clipping stops at the bound of the ratio; under
CISPO, GPPO and CE-GPPO the logarithm of the probability falls faster as it goes, since
their weight of grad pi grows like 1 / pi; MASPO slows down and DGPO more so. Below, a
softmax bandit and a tree of tokens are learned from sampled and wrongly graded
responses: where steps are too large for the errors of the verifier, hard clipping
alone is safe, and the gates fail in the order of their weights; where steps are small
enough, all learn and hard clipping is slowest.

Obtained, expected return after 60 batches of 64 seeds (share of seeds that fail):

                bandit, harsh   tree, calm    tree, harsh
    Plain IS    0.45 (55%)      1.00 (0%)     0.47 (53%)
    GRPO        1.00 (0%)       0.97 (0%)     0.99 (0%)
    SAPO        0.87 (12%)      1.00 (0%)     0.81 (19%)
    MASPO       0.94 (6%)       1.00 (0%)     0.86 (14%)
    CISPO       0.66 (34%)      1.00 (0%)     0.67 (33%)
    GPPO        0.64 (36%)      0.98 (2%)     0.66 (34%)
    CE-GPPO     0.72 (28%)      0.98 (2%)     0.70 (30%)
    DGPO        0.89 (11%)      1.00 (0%)     0.83 (17%)

The 95% interval of a mean is about 0.1 either way where seeds fail: SAPO, MASPO and
DGPO are not told apart here, nor are CISPO, GPPO and CE-GPPO.
"""

import argparse

from maspo_jax.cli.console import signals_end_at_once, status
from maspo_jax.storage import created, results_folder


def main():
    """Draws the picture and prints the table above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="for the picture")
    parser.add_argument("--seeds", type=int, default=64, help="2 or more")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error(f"--seeds {arguments.seeds}: give 2 or more, for an interval")
    try:
        folder = results_folder(arguments.out)
        with signals_end_at_once(), created(folder):
            draw(folder, arguments.seeds)
    except ValueError as error:
        parser.error(str(error))


def draw(folder, seeds):
    """Draws the picture into a folder, and prints the table."""
    with status("loading JAX"):
        import numpy as np

        from maspo_jax.reports.figures import style, testbed_curves

    settings = testbed_curves.BANDIT, testbed_curves.CALM, testbed_curves.HARSH
    for number, setting in enumerate(settings, start=1):
        with status(f"learning in setting {number} of {len(settings)}"):
            curves = testbed_curves.curves_of(setting, seeds)
        print(setting[0])
        for name, returns in curves.items():
            final = returns[:, -1]
            print(f"  {name:9} {final.mean():.2f} ({np.mean(final < 0.5):.0%} fail)")
    with status("learning with other learning rates, and drawing"):
        path = style.save(testbed_curves.testbed, folder, seeds=seeds)
    print(path)


if __name__ == "__main__":
    main()
