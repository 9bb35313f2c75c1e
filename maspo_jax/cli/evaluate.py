"""Evaluates a policy: avg@k, pass@k and majority@k, with intervals.

    maspo evaluate RUN BENCHMARK=FILE [BENCHMARK=FILE ...] [--out DIR]

RUN is the folder of a run, or a checkpoint of Hugging Face: its folder or its name.
FILE holds problems; BENCHMARK names them: aime24, aime25, amc23, math500, minerva and
olympiadbench are graded and counted as published, any other name will do. Started
again, it goes on where it stopped.
"""

import argparse
import sys

from maspo_jax.cli.console import signals_end_at_once, status
from maspo_jax.rollout.batching import BATCH


def main(words=None):
    """Runs the command line. Returns the exit status."""
    arguments = vars(parser().parse_args(words))
    taken = {
        name: arguments.pop(name)
        for name in (
            *("policy", "benchmarks", "template", "batch", "dtype", "step"),
            *("fsdp", "out", "pod"),
        )
    }
    with signals_end_at_once():
        with status("loading JAX"):
            from maspo_jax.cli import evaluate_job

        return evaluate_job.start(
            taken["policy"],
            taken["benchmarks"],
            {name: value for name, value in arguments.items() if value is not None},
            batch=taken["batch"],
            template=taken["template"],
            step=taken["step"],
            fsdp=taken["fsdp"],
            dtype=taken["dtype"],
            folder=taken["out"],
            pod=taken["pod"],
        )


def parser():
    """Returns the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="maspo evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = found.add_argument
    add("policy", metavar="RUN", help="a run, or a checkpoint of Hugging Face")
    add("benchmarks", nargs="+", metavar="BENCHMARK=FILE", help="or FILE alone")
    add("--template", metavar="NAME", help="what a checkpoint is asked for (boxed)")
    add("--samples", type=int, help="responses to each problem (32)")
    add("--temperature", type=float, help="of the draws (0.6); 0 is greedy")
    add("--top-p", type=float, help="the mass of the tokens drawn from (0.95)")
    add("--prompt-length", type=int, help="tokens (those of the run)")
    add("--response-length", type=int, help="tokens (those of the run)")
    add("--seed", type=int, help="of the draws (0)")
    add("--dtype", choices=("float32", "bfloat16"), help="of a checkpoint (float32)")
    add("--step", type=int, help="of the checkpoint (the newest)")
    add(
        "--batch",
        type=int,
        default=BATCH,
        help=f"responses drawn at a time ({BATCH}); fewer take less memory",
    )
    add("--fsdp", type=int, default=1, help="devices that share one copy (1)")
    add("--out", metavar="DIR", help="for the results (evaluations/ and the run)")
    add("--pod", metavar="WHERE", help="as of `maspo train`")
    return found


if __name__ == "__main__":
    sys.exit(main())
