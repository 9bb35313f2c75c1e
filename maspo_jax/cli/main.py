"""The command `maspo SUBCOMMAND ...`."""

import difflib
import importlib
import sys

import maspo_jax
from maspo_jax.cli.console import fail, signals_end_at_once

COMMANDS = {
    "Training": {
        "train": "trains a policy, or resumes a run",
        "sweep": "trains many settings and seeds together; races methods fairly",
        "export": "writes a policy as a Hugging Face checkpoint",
        "plan": "memory and time on machines that are not here, by their compiler",
    },
    "Measuring": {
        "evaluate": "avg@k, pass@k and majority@k of a policy, with intervals",
        "compare": "two evaluations: paired tests, with Holm's correction",
        "figures": "draws the gates, or the learning curves of runs",
    },
    "Problems and answers": {
        "data": "shows what is understood of a file of problems",
        "grade": "grades one answer and says which rule decided",
        "contamination": "finds benchmark problems in training data",
    },
}

EXAMPLE = """
For example
    maspo train experiments/arithmetic.py --objective.gate dgpo --run runs/dgpo

maspo SUBCOMMAND --help     its options
maspo train FILE.py --help  all settings of the experiment in a file
maspo --version             prints the version"""


def main(words=None):
    """Runs a subcommand. Returns the exit status."""
    words = sys.argv[1:] if words is None else words
    known = [name for group in COMMANDS.values() for name in group]
    name = words[0] if words else None
    if name in known:
        with signals_end_at_once():  # from when it is loaded
            return importlib.import_module(f"maspo_jax.cli.{name}").main(words[1:])
    if name == "--version":
        print(f"maspo {maspo_jax.__version__}")
        return 0
    if name in (None, "-h", "--help"):
        print(page())
        return 0 if name else 2
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"the closest is {close[0]}" if close else f"there are {', '.join(known)}"
    return fail(f"no subcommand {name}; {hint}; maspo --help says more")


def page():
    """Returns what `maspo --help` prints."""
    lines = [f"maspo SUBCOMMAND ...\n\n{maspo_jax.__doc__.splitlines()[0]}"]
    for group, commands in COMMANDS.items():
        lines += [f"\n{group}"]
        lines += [f"    {name:14} {about}" for name, about in commands.items()]
    lines.append(EXAMPLE)
    return "\n".join(lines)
