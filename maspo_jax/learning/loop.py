"""Reinforcement learning with verifiable rewards.

for each step:
    draw G responses to each of P prompts from the policy
    grade them
    compare each with its group: the advantage
    for each minibatch:
        ascend the gated, importance-weighted policy gradient
"""

import math

from maspo_jax import distributed
from maspo_jax.data import pipeline
from maspo_jax.learning import learner as algorithms
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import learning_rate
from maspo_jax.learning.sft import sft
from maspo_jax.rewards.verdict import Alarm
from maspo_jax.rollout.worker import collect
from maspo_jax.runs import metrics_log
from maspo_jax.runs.checkpoints import Checkpoints
from maspo_jax.runs.interrupts import Interrupts
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.runs.run_folder import Run

OVERHEAD = ("reading problems", "grading", "writing", "saving")


def train(experiment, folder, verifier, evaluate, display):
    """Runs an experiment in its folder, from where it was left.

    Args:
        experiment: the `Experiment`.
        folder: of the run, from `runs.opened`.
        verifier: a `rewards.Verifier`.
        evaluate: a function of the policy and the mesh that returns its held-out
            metrics, a dict of numbers.
        display: a `Display`, entered.

    Raises:
        Interrupted: a signal asked to stop; the state is saved.
        FloatingPointError: an update was not finite; nothing was saved after it.
    """
    mesh = distributed.make_mesh(experiment.fsdp)
    algorithm = algorithms.build(experiment, mesh, verifier)
    stages = folder / "checkpoints"
    with (
        Interrupts(display) as interrupts,  # until the last checkpoint is on disk
        Checkpoints(stages / "sft") as warming,
        Checkpoints(stages / "reinforcement") as saved,
    ):
        found = f"{warming.newest} and {saved.newest}"
        distributed.assert_equal_across_hosts(
            found, "the checkpoints: do all see the same folder?"
        )
        done = -1 if saved.newest is None else saved.newest
        kept = {"reinforcement": done, "validation": done}
        kept["update"] = done * experiment.updates_per_step
        kept["sft"] = warming.newest or 0 if done < 0 else math.inf
        with metrics_log.MetricsLog(folder, kept) as log:
            clock = metrics_log.Clock(display)
            run = Run(experiment, folder, mesh, log, clock, display, interrupts)
            if done < 0:
                start = begin(run, algorithm, warming)
            else:
                display.note(f"going on from step {done}")
                start = saved.restore(algorithm.skeleton)
            learn(run, algorithm, max(done, 0), *start, evaluate, saved)


def begin(run, algorithm, checkpoints):
    """Returns the state before the first step, warmed up if the experiment says so."""
    experiment = run.experiment
    if experiment.sft:
        policy = sft(run, checkpoints)
        return states.adopt(policy, algorithm.optimizer, run.mesh), None
    return states.begin(experiment, algorithm.optimizer, run.mesh), None


def reference_of(run, algorithm, done, policy):
    """Returns the policy at the start of reinforcement learning, or None.

    Args:
        run: the `Run`.
        algorithm: the `Algorithm`.
        done: steps that are behind.
        policy: of the first step, or of a later one if the run goes on: the
            reference was saved before the first update then.
    """
    if "reference_logprob" not in run.experiment.objective.needs:
        return None
    folder = run.folder / "checkpoints" / "reference"
    with Checkpoints(folder) as saved:  # on leaving, it is on disk
        if done and saved.newest is None:
            raise FileNotFoundError(
                f"{folder}: the reference policy of this run is gone; restore it, or "
                "start again with another --run"
            )
        saved.save(0, policy, {})
    with Checkpoints(folder) as saved:
        return saved.restore(algorithm.skeleton.policy)[0]


def learn(run, algorithm, done, state, position, evaluate, checkpoints):
    """Runs the steps that are left."""
    experiment, clock = run.experiment, run.clock
    stream = problem_stream(experiment, position and position["problems"])
    visits = PromptHistory(position["visits"] if position else ())
    reference = reference_of(run, algorithm, done, state.policy)
    alarm, warned = Alarm(), False
    place = lambda: {"problems": stream.get_state(), "visits": visits.saved()}
    run.display.begin("step", done, experiment.steps)
    if done == 0:
        measure(run, 0, state.policy, evaluate)
    for step in range(done + 1, experiment.steps + 1):
        graded, numbers = collect(run, algorithm, stream, state.policy, step)
        if numbers.get("groups_informative", 1) < 1 and not warned:
            warned = True
            rounds = experiment.sampling.dynamic.rounds
            run.display.note(
                f"warning: after sampling.dynamic.rounds={rounds} rounds, step {step} "
                "still has groups that are all right or all wrong; they teach nothing. "
                "Raise it or sampling.responses, or give other problems. This is said "
                "once: see groups_informative in the metrics"
            )
        with clock("updating"):
            state, learned, seen = algorithm.improve(
                state, graded, visits, reference, step
            )
        last = step == experiment.steps
        with clock("writing"):
            metrics_log.refuse_non_finite(f"step {step}", learned, "optimization")
            for warning in alarm(numbers, graded.verdicts):
                run.display.note(f"step {step}: {warning}")
            numbers |= learned
            before = (step - 1) * experiment.updates_per_step
            run.log.write_updates(before, seen.updates)
            if step % experiment.rollouts_every == 0 or step == 1 or last:
                rewards = distributed.all_gather_hosts(graded.reward)
                metrics_log.write_rollouts(
                    run.folder, step, experiment, graded.problems, rewards, seen
                )
        if step % experiment.validation.every == 0 or last:
            measure(run, step, state.policy, evaluate)
        report(run, step, numbers)
        with clock("saving"):
            if step % experiment.checkpoint_every == 0 or last:
                checkpoints.save(step, state, place())
        run.stop_if_asked(checkpoints, step, state, place(), "steps")


def problem_stream(experiment, position):
    """Returns the iterator of (problems, `Prompts`), at a position or at the start."""
    stream = iter(
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
    """Logs how the policy does on the held-out problems after so many steps."""
    with run.clock("evaluating"):
        numbers = evaluate(policy, run.mesh)
    run.log.write("validation", step, numbers)
    run.display.show(numbers)


def report(run, step, numbers):
    """Logs and shows the metrics of a step, with where its time went.

    What is written and saved behind a step counts for the next.
    """
    experiment, seconds = run.experiment, run.clock.read()
    seconds.pop("evaluating", None)
    total = sum(seconds.values())
    made = step * experiment.updates_per_step
    schedule = learning_rate(
        experiment.optimization, experiment.steps * experiment.updates_per_step
    )
    numbers |= {
        "updates": made,
        "learning_rate": float(schedule(made - 1)),
        "tokens_per_second": numbers["tokens"] / total,
        "time/step": total,
        "time/overhead_share": sum(seconds.get(name, 0) for name in OVERHEAD) / total,
        **{f"time/{name.replace(' ', '_')}": spent for name, spent in seconds.items()},
    }
    with run.clock("writing"):
        run.log.write("reinforcement", step, numbers)
    run.display.step(step, numbers)
