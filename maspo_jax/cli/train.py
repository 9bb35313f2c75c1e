"""`maspo train`."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from maspo_jax import api, arguments
from maspo_jax.cli.console import command, status
from maspo_jax.storage import check_experiment_file

PROG = "maspo train"


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains a policy.

    Words such as `--objective.gate.alpha 0.5` override leaves of the experiment:
    `maspo train EXPERIMENT.py --help` lists them all.

    `--objective.gate dgpo` takes another gate by its name, `--sft off` leaves out a
    part.
    """

    experiment: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="EXPERIMENT.py")
    ]
    """a file with an `Experiment` named `experiment`"""
    run_dir: Annotated[str | None, tyro.conf.arg(name="run", metavar="DIR")] = None
    """folder of the run; None: runs/ and the name of the file. One begun goes on"""
    pod: Annotated[str | None, tyro.conf.arg(metavar="WHERE")] = None
    """`auto` on a TPU pod, or HOST:PORT/INDEX/COUNT for other processes"""
    overrides: tyro.conf.Suppress[tuple[str, ...]] = ()

    @classmethod
    def parse(cls, words):
        """Reads what is known here; the other words are for the experiment."""
        asked = [word for word in words if word in arguments.HELP]
        if asked and words[0] not in arguments.HELP:  # about the experiment
            words = [word for word in words if word not in arguments.HELP]
        else:
            asked = []
        found, overrides = arguments.parse(cls, words, PROG, unknown=True)
        return dataclasses.replace(found, overrides=(*overrides, *asked[:1]))

    def run(self):
        """Trains, or goes on. Returns the exit status."""
        check_experiment_file(self.experiment)
        with status("loading JAX"):
            from maspo_jax import distributed
            from maspo_jax.config import loading
            from maspo_jax.runs.interrupts import Interrupted

        distributed.initialize_distributed(self.pod)
        with distributed.raise_on_all_hosts():
            experiment = loading.load(self.experiment, self.overrides)
        name = pathlib.Path(self.experiment).stem
        run_dir = self.run_dir or pathlib.Path("runs", name)
        try:
            api.train(experiment, run_dir)
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command goes on from there.", flush=True)
            return interrupted.exit_status


main = command(Train)
