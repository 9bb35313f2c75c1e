"""`maspo sweep`."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from maspo_jax import api, arguments
from maspo_jax.cli.console import command, status
from maspo_jax.storage import check_experiment_file, results_folder

PROG = "maspo sweep"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trains all that a sweep file asks for, or what is left of it.

    The file names a `maspo_jax.sweeps.Sweep`, or a `maspo_jax.sweeps.Race`, as
    `sweep`. Runs that differ in numbers alone train together. The same command goes on
    where a sweep was left; several processes may work on one folder. Options such as
    `--steps 5` override settings of the experiment.

    The exit status is 0 at the end, also if single runs have failed, 2 for an error,
    and 128 plus the number of the signal if one has stopped it.
    """

    sweep: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SWEEP.py")]
    """a file with a `Sweep` or a `Race` named `sweep`"""
    run_dir: Annotated[
        str | None,
        tyro.conf.arg(
            name="run", metavar="DIR", help_behavior_hint="(default: runs/SWEEP)"
        ),
    ] = None
    """folder of the sweep; a sweep in it is gone on with"""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """prints the trials, what trains together and what it takes, and ends"""
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
        """Reads what is known here; the other words are for the experiment."""
        found, overrides = arguments.parse(cls, words, PROG, unknown=True)
        return dataclasses.replace(found, overrides=tuple(overrides))

    def run(self):
        """Trains what is left. Returns the exit status."""
        check_experiment_file(self.sweep)
        name = pathlib.Path(self.sweep).stem
        run_dir = pathlib.Path("runs", name) if self.run_dir is None else self.run_dir
        folder = results_folder(run_dir, "--run")
        with status("loading JAX"):
            import rich.console

            from maspo_jax.runs.interrupts import Interrupted
            from maspo_jax.sweeps import Race, outline
            from maspo_jax.sweeps.loading import load

        found = load(self.sweep, self.overrides)
        if self.dry_run:
            stages = {"": found}
            if isinstance(found, Race):
                first = {name: trials[0] for name, trials in found.methods.items()}
                stages = {
                    "stage 1": found.tuning(),
                    "stage 2, such as": found.final(first),
                }
            for name, stage in stages.items():
                print(name)
                outline.show(stage, folder, rich.console.Console())
            return None
        try:
            api.sweep(
                found,
                folder,
                source=self.sweep,
                compilation_cache=self.compilation_cache or None,
            )
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command resumes it.", flush=True)
            return interrupted.exit_status
        part = folder / "final" if isinstance(found, Race) else folder
        if (part / "table.parquet").is_file():
            print(f"What the runs measured: {part}/table.parquet")
        print(f"Draw it: maspo figures {folder} --out .")
        return None


main = command(Sweep)
