"""Reinforcement learning with verifiable rewards.

for each step:
    collect: draw G responses to each of P prompts from the policy, and grade them
    assemble: compare each with its group, the advantage
    for each minibatch:
        update: ascend the gated, importance-weighted policy gradient
    record
"""

import contextlib
import dataclasses
import functools
import math

import jax

from maspo_jax import distributed
from maspo_jax.data import pipeline
from maspo_jax.learning import learner as learners
from maspo_jax.learning import train_state as states
from maspo_jax.learning.idle import make_idle_alarm
from maspo_jax.learning.optimizer import learning_rate
from maspo_jax.learning.sft import sft
from maspo_jax.objectives.metrics import of_update, over_updates
from maspo_jax.objectives.surrogate import TokenTrace
from maspo_jax.rewards.verdict import Alarm
from maspo_jax.rollout import worker as workers
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.runs import metrics_log
from maspo_jax.runs.checkpoints import Checkpoints, steps_of
from maspo_jax.runs.interrupts import Interrupts
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.runs.responses import write_responses
from maspo_jax.runs.run_folder import Run
from maspo_jax.runs.state import RunState
from maspo_jax.storage import WriteError
from maspo_jax.types import TrainBatch

OVERHEAD = ("reading problems", "grading", "writing", "saving")


def train(experiment, folder, verifier, evaluate, display):
    """Runs an experiment in its folder, from where it was left.

    Args:
        experiment: the `Experiment`.
        folder: of the run, from `run_folder.opened`.
        verifier: a `rewards.Verifier`.
        evaluate: a function of the policy and the mesh that returns its
            validation metrics, a dict of numbers.
        display: a `Display`, entered.

    Raises:
        Interrupted: a signal asked to stop; the state is saved.
        FloatingPointError: an update was not finite; nothing was saved after it.
        WriteError: something could not be written; nothing was learned after it.
        ValueError: the checkpoints are damaged.
    """
    mesh = distributed.make_mesh(experiment.fsdp, experiment.tensor)
    learner = learners.build(experiment, mesh)
    stages = folder / "checkpoints"
    sft_checkpoints = Checkpoints(stages / "sft", display.note)
    saved = Checkpoints(stages / "reinforcement", display.note)
    with (
        Interrupts(display) as interrupts,  # until the last checkpoint is on disk
        remedy(sft_checkpoints, saved),
        sft_checkpoints,
        saved,
    ):
        found = f"{steps_of(stages / 'sft')} and {steps_of(stages / 'reinforcement')}"
        distributed.assert_equal_across_hosts(
            found,
            "the checkpoints of this run",
            remedy=f"let all of them see the same {stages}",
        )
        if found != "[] and []":
            display.stage("verifying the newest checkpoint")
        done = -1 if saved.newest is None else saved.newest
        # What is measured before the first step is measured again.
        kept = {"reinforcement": done, "validation": done or -1}
        kept["update"] = done * experiment.updates_per_step
        kept["sft"] = (sft_checkpoints.newest or 0) if done < 0 else math.inf
        with metrics_log.MetricsLog(folder, kept, display.note) as log:
            clock = metrics_log.Clock(display)
            run = Run(experiment, folder, mesh, log, clock, display, interrupts)
            if done < 0:
                start = begin(run, learner, sft_checkpoints)
            else:
                if done >= experiment.steps:
                    display.note(f"all {done} steps are done: nothing is trained")
                else:
                    display.note(f"going on from step {done}")
                start = learner.restore(saved)
            done = max(done, 0)
            learner = dataclasses.replace(
                learner,
                reference=reference_of(run, learner, done, start.train.policy),
                prompt_history=PromptHistory(start.prompt_history),
            )
            stream = problem_stream(experiment, start.data)
            worker = workers.build(
                experiment, mesh, verifier, stream, clock, display.note
            )
            learn(run, worker, learner, done, start.train, evaluate, saved)


@contextlib.contextmanager
def remedy(sft_checkpoints, saved):
    """Says from where a run goes on, if something of it could not be written.

    Args:
        sft_checkpoints: the `Checkpoints` of the supervised stage.
        saved: those of reinforcement learning.
    """
    try:
        yield
    except WriteError as error:
        place = "the start"
        if saved.newest is not None:
            place = f"step {saved.newest}"
        elif sft_checkpoints.newest is not None:
            place = f"sft update {sft_checkpoints.newest}"
        raise WriteError(f"{error}; the same command goes on from {place}") from error


def begin(run, learner, checkpoints):
    """Returns the `RunState` before the first step, after the supervised stage."""
    experiment, optimizer = run.experiment, learner.optimizer
    if experiment.sft:
        policy = sft(run, checkpoints)
        return RunState(states.adopt(policy, optimizer, run.mesh))
    return RunState(states.begin(experiment, optimizer, run.mesh))


def reference_of(run, learner, done, policy):
    """Returns the policy at the start of reinforcement learning, or None.

    Args:
        run: the `Run`.
        learner: the `Learner`.
        done: steps that are behind.
        policy: of the first step, or of a later one if the run goes on: the
            reference was saved before the first update then.
    """
    if "reference_logprob" not in run.experiment.objective.needs:
        return None
    folder = run.folder / "checkpoints" / "reference"
    with Checkpoints(folder, run.display.note) as saved:  # on leaving, it is on disk
        if done and saved.newest is None:
            raise FileNotFoundError(
                f"{folder}: the reference policy of this run is gone; restore it, or "
                "start again with another --run"
            )
        saved.save(0, RunState(policy))
    with Checkpoints(folder, run.display.note) as saved:
        return saved.restore(learner.skeleton.policy).train


def learn(run, worker, learner, done, state, evaluate, checkpoints):
    """Runs the steps that are left."""
    experiment, clock, journal = run.experiment, run.clock, Journal(run)
    run.display.begin("step", done, experiment.steps)
    if done < experiment.steps:
        learner.compile_ahead()
    if done == 0:
        measure(run, 0, state.policy, evaluate)
    if experiment.steps == 0:  # what was made before the first step is all there is
        checkpoints.save(0, settle(journal, worker, learner, state, 0))
    with journal:
        for step in range(done + 1, experiment.steps + 1):
            leave = leaving(run, journal, worker, learner, state, step, checkpoints)
            rollout = worker.collect(state.policy, step, leave)  # draw, grade (DAPO)
            with clock("saving"):  # nothing is learned behind what could not be saved
                checkpoints.finish()
            with clock("writing"):  # or be written
                run.log.flush()
            leave()
            with clock("updating"):
                batch, metrics = learner.assemble(state.policy, rollout)
                updates = []
                for minibatch in learner.minibatches(batch, step):
                    if updates and checkpoints.newest == step - 1:
                        jax.block_until_ready(updates[:-1])  # keeps one under way
                        leave()
                    state, measured, trace = learner.update(state, minibatch)  # gate
                    updates.append(measured)
                metrics |= updates[0].compared
            last = step == experiment.steps
            journal.add(StepRecord(step, rollout, metrics, updates, clock.read()))
            if step % experiment.rollouts_every == 0 or step == 1 or last:
                journal.add_responses(minibatch, trace)
            if step % experiment.validation.every == 0 or last:
                of_this = functools.partial(measure, run, step, state.policy, evaluate)
                journal.flush(before_report=of_this)
            settled = functools.partial(settle, journal, worker, learner, state, step)
            if run.save_is_due(checkpoints, step, experiment.checkpoint_every, last):
                reached = settled()
                with clock("saving"):
                    checkpoints.save(step, reached)
            run.stop_if_asked(checkpoints, step, settled, "steps")


def leaving(run, journal, worker, learner, state, step, checkpoints):
    """Returns a function that drops a step that has begun if a signal has come.

    It leaves the run as it was before the step. Once the updates have begun, which
    take the arrays of the state with them, that state has to be saved already.
    """
    before = run_state(worker, learner, state, step - 1)

    def reached():
        journal.flush()
        return before

    return lambda: run.stop_if_asked(checkpoints, step - 1, reached, "steps")


def settle(journal, worker, learner, state, step):
    """Returns the `RunState` behind a step, once its updates are known to be finite."""
    journal.flush()
    return run_state(worker, learner, state, step)


def run_state(worker, learner, state, step):
    """Returns the `RunState` behind a step, of the `TrainState` there."""
    return RunState(
        state,
        worker.stream.get_state(),
        learner.prompt_history.saved(),
        step * learner.experiment.updates_per_step,
    )


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What a step leaves for the log; numbers of the learner still on the devices."""

    step: int
    rollout: RewardedRollout
    metrics: dict  # of the batch before the first update
    updates: list  # the metrics of each update, dicts
    seconds: dict  # of the `Clock`
    # Of the last update, if its responses are to be written:
    minibatch: TrainBatch | None = None
    trace: TokenTrace | None = None


class Journal:
    """Writes what the steps of a run leave, each when the next has begun its updates.

    So the devices never wait for the log: a step draws before the metrics of the one
    before have been asked for. What processes exchange is exchanged here; the lines
    are made and written by the thread of the log. Whoever is about to save a state
    flushes first.
    """

    def __init__(self, run):
        self._run = run
        self._held = None
        self._alarm, self._warned = Alarm(), False
        self._idle = make_idle_alarm(run.experiment)

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        """Writes the metrics held of the step before an error.

        Not its responses: other processes may not come to exchange theirs. An update
        that was not finite is the error to see then.
        """
        if kind is None or self._held is None:
            return
        self._held = dataclasses.replace(self._held, minibatch=None, trace=None)
        try:
            self.flush()
        except FloatingPointError:
            raise
        except Exception:  # of the same cause, if any
            return

    def add(self, record):
        """Holds the `StepRecord` of a step, and has that of the step before written."""
        self._write_held()
        # The rows of a whole step are not kept on the devices beside those of the next.
        rollout = dataclasses.replace(record.rollout, rollout=None)
        self._held = dataclasses.replace(record, rollout=rollout)

    def add_responses(self, minibatch, trace):
        """Has the responses of the last update written along with the step's record."""
        self._held = dataclasses.replace(self._held, minibatch=minibatch, trace=trace)

    def flush(self, before_report=lambda: None):
        """Writes what is held, if anything, and waits until all is written.

        Args:
            before_report: called between the lines of the updates and that of the step.

        Raises:
            FloatingPointError: an update of the step was not finite.
            WriteError: something could not be written.
        """
        self._write_held(before_report)
        with self._run.clock("writing"):
            self._run.log.flush()

    def _write_held(self, before_report=lambda: None):
        if self._held is None:
            return
        record, self._held = self._held, None
        run, step, rollout = self._run, record.step, record.rollout
        with run.clock("updating"):
            metrics, updates = jax.device_get((record.metrics, record.updates))
            metrics = {name: float(value) for name, value in metrics.items()}
            updates = [of_update(update) for update in updates]
        with run.clock("writing"):
            metrics |= over_updates(updates)
            metrics_log.refuse_non_finite(f"step {step}", metrics, "optimization")
            self._warn(step, rollout)
            per_step = run.experiment.updates_per_step
            run.log.write_updates((step - 1) * per_step, updates)
            if record.trace is not None:
                write_responses(
                    run.folder,
                    step,
                    run.experiment.tokenizer,
                    rollout,
                    record.minibatch,
                    record.trace,
                    later=run.log.add,
                )
        before_report()
        metrics = rollout.metrics | metrics | timing(run, record, rollout.metrics)
        report(run, step, metrics)

    def _warn(self, step, rollout):
        """Says what is wrong with the responses of a step, each thing once."""
        run, dynamic = self._run, self._run.experiment.sampling.dynamic
        warnings = self._alarm(rollout.metrics, rollout.verdicts)
        idle = self._idle(rollout.metrics) if self._idle else []
        for warning in warnings + idle:
            run.display.note(f"step {step}: {warning}")
        if rollout.metrics.get("frac_groups_informative", 1) < 1 and not self._warned:
            self._warned = True
            run.display.note(
                f"warning: after sampling.dynamic.rounds={dynamic.rounds} rounds, step "
                f"{step} still has groups whose responses all earned the same; they "
                "teach nothing. Raise it or sampling.responses, or give other "
                "problems. This is said once: see frac_groups_informative in the "
                "metrics"
            )


def timing(run, record, metrics):
    """Returns what a step cost, as metrics.

    The devices go on with the updates of a step while the next one begins: waiting for
    them, and what is written and saved behind a step, count for the next.
    """
    experiment, seconds = run.experiment, dict(record.seconds)
    seconds.pop("evaluating", None)
    total = sum(seconds.values())
    made = record.step * experiment.updates_per_step
    schedule = learning_rate(
        experiment.optimization, experiment.steps * experiment.updates_per_step
    )
    return {
        "updates": made,
        "learning_rate": float(schedule(made - 1)),
        "tokens_per_second": metrics["tokens"] / total,
        "time/step": total,
        "time/overhead_share": sum(seconds.get(name, 0) for name in OVERHEAD) / total,
        **{f"time/{name.replace(' ', '_')}": spent for name, spent in seconds.items()},
        "time/programs_compiled": run.clock.programs_compiled(),
    }


def problem_stream(experiment, position):
    """Returns the `ProblemStream` of the training set, at a position or the start."""
    stream = pipeline.ProblemStream(
        pipeline.prompts(
            experiment.train_set,
            experiment.template,
            experiment.tokenizer,
            batch=experiment.sampling.prompts,
            length=experiment.sampling.prompt_length,
            seed=experiment.seed,
        )
    )
    if position is not None:
        stream.set_state(position)
    return stream


def measure(run, step, policy, evaluate):
    """Logs how the policy does on the validation problems after so many steps."""
    with run.clock("evaluating"):
        metrics = evaluate(policy, run.mesh)
    run.log.write("validation", step, metrics)
    run.display.show(metrics)


def report(run, step, metrics):
    """Logs and shows the metrics of a step."""
    with run.clock("writing"):
        run.log.write("reinforcement", step, metrics)
    run.display.step(step, metrics)
