"""`maspo plan`."""

import dataclasses
import os
from typing import Annotated

import tyro

from maspo_jax import arguments
from maspo_jax.cli.console import command, status
from maspo_jax.refusals import Refusals
from maspo_jax.storage import check_experiment_file

PROG = "maspo plan"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Says what an experiment takes on machines that are not here.

    Memory of each stage of a step, by arithmetic and by the compiler of those machines,
    which runs here without them; what does not fit, with the remedy; and the time of a
    step at best. Neither weights nor a tokenizer nor problems are read where the shape
    of the checkpoint is known. Options such as `--sampling.wave 64` override settings
    of the experiment; `maspo train EXPERIMENT.py --help` lists them all.

    The exit status is 0 if all fits, 1 if something does not, and 2 for an error.
    """

    experiment: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="EXPERIMENT.py")
    ]
    """a file with an `Experiment` named `experiment`"""
    devices: Annotated[str, tyro.conf.arg(metavar="SLICE")]
    """such as v5p:4x4x4, v6e:8x8, v5e:4x4, tpu7x:2x2x1 or h100x8"""
    search: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """look for the largest wave and microbatch that fit"""
    overrides: tyro.conf.Suppress[tuple[str, ...]] = ()

    @classmethod
    def parse(cls, words):
        """Reads what is known here; the other words are for the experiment."""
        found, overrides = arguments.parse(cls, words, PROG, unknown=True)
        return dataclasses.replace(found, overrides=tuple(overrides))

    def run(self):
        """Plans. Returns the exit status."""
        check_experiment_file(self.experiment)
        # Nothing runs on a device here; and C++ logs what others would do.
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with status("loading JAX"):
            from maspo_jax.config import loading
            from maspo_jax.plan.devices import parse_slice
            from maspo_jax.plan.make import make

        with Refusals() as refusals:
            with refusals.of():
                slice_ = parse_slice(self.devices)
            experiment = loading.read(self.experiment, self.overrides, refusals)
        say = lambda text: text and print(text, end="\n\n", flush=True)
        return 0 if make(experiment, slice_, say, status, self.search) else 1


main = command(Plan)
