"""`maspo train`."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from maspo_jax import api, arguments
from maspo_jax.cli.console import command, status
from maspo_jax.refusals import Refusals
from maspo_jax.storage import check_experiment_file, results_folder

PROG = "maspo train"


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains a policy, or resumes a run: the same command on the same folder.

    Options such as `--objective.gate.alpha 0.5` override settings of the experiment;
    `maspo train EXPERIMENT.py --help` lists them all. `--objective.gate dgpo` takes
    another gate by its name, `--sft off` leaves out a part.

    The exit status is 0 at the end, 1 if an update was not finite, 2 for an error, and
    128 plus the number of the signal if one has stopped it.
    """

    experiment: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="EXPERIMENT.py")
    ]
    """a file with an `Experiment` named `experiment`"""
    run_dir: Annotated[
        str | None,
        tyro.conf.arg(
            name="run", metavar="DIR", help_behavior_hint="(default: runs/EXPERIMENT)"
        ),
    ] = None
    """folder of the run; a run in it is resumed"""
    pod: Annotated[
        str | None,
        tyro.conf.arg(metavar="WHERE", help_behavior_hint="(default: one process)"),
    ] = None
    """multi-host: `auto` on a TPU pod or SLURM, else HOST:PORT/INDEX/COUNT"""
    accept_code_changes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """resume although a gate, a grader or other code of yours has changed"""
    compilation_cache: Annotated[
        str,
        tyro.conf.arg(
            metavar="DIR", help_behavior_hint="(default: ~/.cache/maspo_jax/jax)"
        ),
    ] = ""
    """where compiled programs are kept, a folder or gs:// path; none: nowhere"""
    overrides: tyro.conf.Suppress[tuple[str, ...]] = ()

    @classmethod
    def parse(cls, words):
        """Reads what is known here; the other words are for the experiment.

        So is `--help`, where an experiment is named.
        """
        others = [word for word in words if word not in arguments.HELP]
        asked = len(others) < len(words)
        try:
            found, overrides = arguments.parse(cls, others, PROG, unknown=True)
        except ValueError:
            if not asked:
                raise
            arguments.parse(cls, ["--help"], PROG)
        overrides = (*overrides, *["--help"] * asked)
        return dataclasses.replace(found, overrides=overrides)

    def run(self):
        """Trains, or resumes. Returns the exit status."""
        check_experiment_file(self.experiment)
        name = pathlib.Path(self.experiment).stem
        run_dir = pathlib.Path("runs", name) if self.run_dir is None else self.run_dir
        if "://" in str(run_dir):
            results_folder(run_dir, "--run")  # before JAX is loaded
        with status("loading JAX"):
            from maspo_jax import distributed
            from maspo_jax.config import loading
            from maspo_jax.learning.run import check_experiment
            from maspo_jax.runs.interrupts import Interrupted

        distributed.initialize_distributed(self.pod)
        with distributed.raise_on_all_hosts(), Refusals() as refusals:
            with distributed.raise_on_all_hosts():
                experiment = loading.read(self.experiment, self.overrides, refusals)
            # What else is wrong is said at once; all processes of a pod ask together.
            if distributed.max_over_hosts(bool(refusals)):
                with refusals.of():
                    check_experiment(experiment, run_dir)
        try:
            api.train(
                experiment,
                run_dir,
                source=self.experiment,
                accept_code_changes=self.accept_code_changes,
                compilation_cache=self.compilation_cache,
            )
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command resumes it.", flush=True)
            return interrupted.exit_status


main = command(Train)
