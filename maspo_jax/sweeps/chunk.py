"""A chunk: runs of a sweep that are trained together, each in a folder of its own.

The folder of a run is what `maspo train` leaves of it: configuration, metrics, sampled
responses, the last checkpoint. Until the chunk has ended, the states of its runs lie in
checkpoints of the chunk, all of them in one.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp

from maspo_jax.config import Objective, Optimization, Updates, serialization
from maspo_jax.learning import loop, train_state
from maspo_jax.learning import run as runs
from maspo_jax.objectives import gates
from maspo_jax.rollout.grading import make_verifier
from maspo_jax.runs import metrics_log, provenance, run_folder
from maspo_jax.runs.checkpoints import Checkpoints, read_policy, steps_of
from maspo_jax.runs.display import Display
from maspo_jax.runs.interrupts import Interrupted
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.runs.run_folder import Run
from maspo_jax.runs.state import RunState
from maspo_jax.storage import read_json_object, write_whole
from maspo_jax.sweeps import together
from maspo_jax.types import TrainState

NOTES = "notes.txt"  # of a run: what it noted
STATUS = "status.json"  # of a run: how it ended
FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"


def status_of(folder):
    """Returns how a run ended, a dict with its `status`, or None if it has not."""
    file = pathlib.Path(folder, STATUS)
    return read_json_object(file) if file.is_file() else None


def write_status(folder, status, steps, why=""):
    """Writes how a run ended: the last thing that is written of it."""
    record = {"status": status, "steps": steps, "why": why}
    write_whole(pathlib.Path(folder, STATUS), json.dumps(record) + "\n")


class Notes:
    """What the runs of a sweep note: each kind of note is shown once."""

    def __init__(self, note):
        """Takes the function that shows a line."""
        self._note, self._kinds = note, set()

    def __call__(self, name, text):
        """Shows what a run of that name notes, unless another has said the like."""
        kind = re.sub(r"'[^']*'|[\d.%]+", "", text)
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._note(f"{name}: {text} (the like of other runs is in their {NOTES})")


class MemberDisplay(Display):
    """Of one run among others: writes what it notes to its folder, and shows no step.

    Notes are shown, too, but not what many runs say.
    """

    def __init__(self, name, folder, notes=lambda name, text: None):
        """Takes what the run is called, its folder or None, and its `Notes`."""
        super().__init__(quiet=True)
        self._name_of_run, self._folder, self._notes = name, folder, notes
        self.begin("step", 0, 1)

    def note(self, text):
        """Writes a note, and shows it."""
        if self._folder is not None:
            with open(self._folder / NOTES, "a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        self._notes(self._name_of_run, text)

    def step(self, step, metrics):
        """Says nothing: the sweep shows how far its runs are."""


@dataclasses.dataclass
class Member:
    """One run of a chunk."""

    name: str
    run: Run
    journal: loop.Journal


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Runs that are trained together, and what they share."""

    folder: pathlib.Path  # of its checkpoints
    names: list  # of its runs
    experiments: list  # of each
    folders: list  # of each
    starts: pathlib.Path  # folder of policies that supervised training has made
    programs: together.Programs
    display: Any  # a `Display` of the sweep
    notes: Notes
    interrupts: Any  # the `Interrupts`
    # Steps after which runs may be stopped, and a function of a step and of the names
    # of the runs that came as far; it returns those that stop there, {name: why}.
    rungs: tuple = ()
    rung: Any = None
    progress: Any = lambda step, runs: None  # called behind every step

    def train(self):
        """Trains its runs from where they were left, and writes how each has ended.

        Raises:
            Interrupted: a signal asked to stop; the state is saved.
            WriteError: something could not be written.
        """
        with contextlib.ExitStack() as held:
            verifier = held.enter_context(make_verifier(self.experiments[0].grading))
            saved = held.enter_context(
                Checkpoints(self.folder / "checkpoints", self.display.note)
            )
            done = -1 if saved.newest is None else saved.newest
            places = [*range(len(self.names))]
            if done >= 0:
                places = saved.read_host()["places"]
            group = self._begin(done, places, saved, verifier)
            ended = [status_of(self.folders[place]) for place in places]
            group.ended = {k for k, status in enumerate(ended) if status is not None}
            clock = metrics_log.Clock(MemberDisplay("", None))
            members = [
                self._member(place, done, clock, held) if ended[k] is None else None
                for k, place in enumerate(places)
            ]
            training = _Training(self, places, group, members, saved, clock)
            training.go_on(max(done, 0), done < 0)

    def _begin(self, done, places, saved, verifier):
        """Returns the `Group` at its start, or as its newest checkpoint has it."""
        experiments, programs = [self.experiments[k] for k in places], self.programs
        first, count = experiments[0], len(places)
        needs_reference = "reference_logprob" in first.objective.needs
        data = {"streams": {}, "histories": [{}] * count}
        if done < 0:
            mesh = programs.learner.mesh
            policies = {}
            for experiment in experiments:
                key = start_key(experiment)
                if key not in policies:
                    policies[key] = self._start(experiment, mesh)
            own = [policies[start_key(each)] for each in experiments]
            state = together.first_states(experiments, programs, own)
            reference = (
                jax.tree.map(jnp.copy, state.policy) if needs_reference else None
            )
        else:
            skeleton = together.skeleton_of(programs, count)
            wanted = {"state": skeleton}
            if needs_reference:
                wanted["reference"] = skeleton.policy
            found = saved.restore(wanted)
            state, reference = found.train["state"], found.train.get("reference")
            data = found.data
        streams = {
            each.seed: loop.problem_stream(each, data["streams"].get(str(each.seed)))
            for each in {each.seed: each for each in experiments}.values()
        }
        histories = [PromptHistory(history) for history in data["histories"]]
        return together.Group(
            experiments, programs, verifier, streams, histories, state, reference
        )

    def _start(self, experiment, mesh):
        """Returns the policy of a run before its first step."""
        parts = self.programs.learner
        if not experiment.sft:
            return train_state.begin(experiment, parts.optimizer, mesh).policy
        folder = self.starts / start_key(experiment)
        return read_policy(
            folder / "checkpoints" / "reinforcement", 0, parts.skeleton.policy
        )

    def _member(self, place, done, clock, held):
        """Returns a `Member`, its folder opened."""
        experiment, folder = self.experiments[place], self.folders[place]
        held.enter_context(run_folder.opened(folder, experiment, kept_elsewhere=True))
        display = MemberDisplay(self.names[place], folder, self.notes)
        if done < 0:
            provenance.write(folder, provenance.start(experiment, None))
        per_step = experiment.updates_per_step
        kept = {"reinforcement": done, "validation": done, "update": done * per_step}
        kept["sft"] = -1 if done < 0 else experiment.steps + 10**9
        log = held.enter_context(metrics_log.MetricsLog(folder, kept, display.note))
        mesh = self.programs.learner.mesh
        run = Run(experiment, folder, mesh, log, clock, display, self.interrupts)
        if done < 0 and experiment.sft:
            for line in run_folder.read_metrics(
                self.starts / start_key(experiment), "sft"
            ):
                step = line.pop("step")
                line.pop("stage")
                log.write("sft", step, line)
        return Member(self.names[place], run, loop.Journal(run))


def make_start(experiment, starts):
    """Makes the policy that a run starts from, unless it is there or needs no making.

    Args:
        experiment: of the run.
        starts: the folder of such policies.

    Raises:
        Interrupted: a signal asked to stop; what is done is saved.
        FloatingPointError: an update was not finite.
    """
    if not experiment.sft:
        return
    folder = starts / start_key(experiment)
    if steps_of(folder / "checkpoints" / "reinforcement") != [0]:
        quiet = MemberDisplay("", None)
        runs.run(start_experiment(experiment), folder, quiet)


def start_experiment(experiment):
    """Returns the experiment that makes the policy a run starts from: no step at all.

    What decides nothing of that is the same for all runs.
    """
    plain = Objective(gates.Clip())
    return dataclasses.replace(
        experiment,
        objective=plain,
        optimization=Optimization(1e-4),
        updates=Updates(minibatches=1),
        sampling=dataclasses.replace(
            experiment.sampling, dynamic=None, responses=2, temperature=1.0
        ),
        validation=dataclasses.replace(experiment.validation, problems=1, samples=1),
        steps=0,
    )


def start_key(experiment):
    """Returns a name of the policy that a run starts from: of all that makes it."""
    sampling = experiment.sampling
    parts = experiment.policy, experiment.tokenizer, experiment.template, experiment.sft
    record = {
        "parts": [serialization.to_json(part) for part in parts],
        "lengths": [sampling.prompt_length, sampling.response_length],
        "files": provenance.digests(parts),
        "code": provenance.code(parts),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return f"seed_{experiment.seed}_{digest[:12]}"


@dataclasses.dataclass
class _Training:
    """The steps of a chunk."""

    chunk: Chunk
    places: list  # of the runs of the group among those of the chunk
    group: together.Group
    members: list  # `Member`s; None for those that have ended
    saved: Checkpoints
    clock: metrics_log.Clock

    @property
    def names(self):
        """The names of the runs that go on."""
        return [self.members[k].name for k in self.group.alive]

    def go_on(self, done, fresh):
        """Makes the steps behind the first `done`, and ends the runs."""
        chunk, group, steps = self.chunk, self.group, self.group.common.steps
        every = group.common.checkpoint_every
        if fresh:
            self._validate(0)
            self._save(0)
        for step in range(done + 1, steps + 1):
            if not group.alive:
                break
            self._step(step, step == steps)
            chunk.progress(step, self.names)
            at_rung = self._stop_at(step)
            asked = chunk.interrupts.requested
            if step == steps or step % every == 0 or asked or at_rung:
                self._save(step)
            if asked:
                self.saved.finish()
                raise Interrupted(asked, f"step {step} of {len(self.names)} runs")
        self.saved.finish()
        for k in [*group.alive]:
            self._end(k, FINISHED, steps)

    def _step(self, step, last):
        group, clock, experiment = self.group, self.clock, self.group.common
        rewarded, rollout = group.collect(step, clock)
        metrics, updates, minibatch, trace = group.learn(step, rewarded, rollout, clock)
        spent = clock.read()
        share = len(group.alive)
        seconds = {name: value / share for name, value in spent.items()}
        written = step % experiment.rollouts_every == 0 or step == 1 or last
        for k in [*group.alive]:
            member = self.members[k]
            numbers = together.pick(metrics, k)
            made = [together.pick(update, k) for update in updates]
            record = loop.StepRecord(step, rewarded[k], numbers, made, dict(seconds))
            with self._failing(k, step):
                member.journal.add(record)
                if written:
                    seen = together.pick((minibatch, trace), k)
                    member.journal.add_responses(*seen)
        if step % experiment.validation.every == 0 or last:
            self._validate(step)

    def _validate(self, step):
        """Measures the runs on the validation problems, and writes all of a step."""
        with self.clock("evaluating"):
            found = self.group.validate()
        for k, metrics in found.items():
            run = self.members[k].run
            write = functools.partial(run.log.write, "validation", step, metrics)
            if step == 0:  # no step has anything to be written before it
                write()
                continue
            with self._failing(k, step):
                self.members[k].journal.flush(write)

    @contextlib.contextmanager
    def _failing(self, place, step):
        """Marks a run whose update was not finite, and goes on with the others."""
        try:
            yield
        except FloatingPointError as error:
            member = self.members[place]
            member.run.display.note(f"failed: {error}")
            self.group.ended.add(place)
            self._end(place, FAILED, step, str(error))

    def _end(self, place, status, steps, why=""):
        """Writes how a run has ended, behind everything else of it."""
        member, group = self.members[place], self.group
        folder = member.run.folder
        if status != FAILED:
            member.journal.flush()
            experiment = member.run.experiment
            state = RunState(
                TrainState(
                    together.pick(group.state.policy, place),
                    together.pick(group.state.opt_state, place),
                ),
                group.streams[experiment.seed].get_state(),
                group.histories[place].saved(),
                steps * experiment.updates_per_step,
            )
            room = folder / "checkpoints" / "reinforcement"
            with Checkpoints(room, member.run.display.note) as saved:
                saved.save(steps, state)
        write_status(folder, status, steps, why)

    def _stop_at(self, step):
        """Stops the runs that a rung lets go no further. Returns whether it did."""
        if step not in self.chunk.rungs:
            return False
        self._flush(step)
        stopped = self.chunk.rung(step, self.names)
        for k in [*self.group.alive]:
            if self.members[k].name in stopped:
                self._end(k, STOPPED, step, stopped[self.members[k].name])
                self.group.ended.add(k)
        left = self.group.alive
        if not left or len(left) == len(self.places):
            return False
        # Also those that ended before a kill, at this rung: a rung that is come to
        # again leaves the same runs.
        self.group.keep(left)
        self.members = [self.members[k] for k in left]
        self.places = [self.places[k] for k in left]
        return True

    def _flush(self, step):
        """Writes all that the runs hold back."""
        for k in [*self.group.alive]:
            with self._failing(k, step):
                self.members[k].journal.flush()

    def _save(self, step):
        """Saves the states of all runs, behind what they have written."""
        group = self.group
        self._flush(step)
        train = {"state": group.state}
        if group.reference is not None:
            train["reference"] = group.reference
        data = {
            "streams": {str(s): one.get_state() for s, one in group.streams.items()},
            "histories": [history.saved() for history in group.histories],
            "places": self.places,
        }
        self.saved.save(step, RunState(train, data))
