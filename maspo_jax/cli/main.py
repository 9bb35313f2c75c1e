"""The command `maspo SUBCOMMAND ...`."""

import importlib
import sys

COMMANDS = {
    "train": "trains a policy",
    "evaluate": "avg@k, pass@k and majority@k of a policy, with intervals",
    "compare": "says which differences between two evaluations are real",
    "export": "writes a policy as a checkpoint of Hugging Face",
    "figures": "draws gates, or the learning curves of runs",
    "grade": "grades one answer and says which rule decided",
    "contamination": "finds benchmark problems in training data",
}


def main(words=None):
    """Runs a subcommand. Returns the exit status."""
    words = sys.argv[1:] if words is None else words
    if words and words[0] in COMMANDS:
        return importlib.import_module(f"maspo_jax.cli.{words[0]}").main(words[1:])
    listed = "".join(f"    {name:14} {about}\n" for name, about in COMMANDS.items())
    print(f"maspo SUBCOMMAND ...\n\n{listed}\nmaspo SUBCOMMAND --help says more.")
    return 0 if {"-h", "--help"} & set(words[:1]) else 2
