"""Supervised fine-tuning: a policy, new or pretrained, learns to write answers."""

import jax

from maspo_jax import distributed
from maspo_jax.data import pipeline
from maspo_jax.learning import train_state as states
from maspo_jax.learning.batches import demonstration_batch, microbatches_of
from maspo_jax.learning.optimizer import hyperparameters, make_optimizer
from maspo_jax.learning.update import make_update
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.surrogate import sft_loss
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.runs.metrics_log import SFT_EVERY, refuse_non_finite
from maspo_jax.runs.state import RunState

START = {"phase": 0, "taken": 0, "stream": None}


def sft(run, checkpoints):
    """Returns a policy trained on the solutions of the sources of `Experiment.sft`.

    Goes on from the newest checkpoint of this stage, and leaves one at its end.

    Args:
        run: the `Run`.
        checkpoints: the `Checkpoints` of this stage.
    """
    experiment, settings = run.experiment, run.experiment.sft
    total = sum(phase.updates for phase in settings.phases)
    optimizer = make_optimizer(settings.optimization, total)
    skeleton = states.skeleton(experiment.decoder, optimizer, run.mesh)
    done = checkpoints.newest
    if done is None:
        state = states.begin(experiment, optimizer, run.mesh)
        done, begin = 0, START
    else:
        run.display.note(f"going on from sft update {done}")
        saved = checkpoints.restore(skeleton, hyperparameters(settings.optimization))
        state, begin = saved.train, saved.data
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    parts = microbatches_of(
        settings,
        settings.batch // distributed.row_shards(run.mesh),
        experiment.sft_row_length,
    )
    update = make_update(sft_loss, optimizer, run.mesh, specs, microbatches=parts)
    own = distributed.host_slice(settings.batch)

    run.display.begin("sft", done, total, then=f"{experiment.steps} steps")
    run.display.stage("fine-tuning")
    for sequences, position in demonstrations(experiment, begin):
        batch = demonstration_batch(sequences, token_mean)
        batch = distributed.shard_rows(jax.tree.map(lambda x: x[own], batch), run.mesh)
        state, metrics, _ = update(state, batch, None)
        checkpoints.check()
        done += 1
        reached = RunState(state, position, policy_version=done)
        every, last = settings.checkpoint_every, done == total
        due = run.save_is_due(checkpoints, done, every, last)
        showing = done % SFT_EVERY == 0 or last
        asked = run.interrupts.requested  # once: what is saved was looked at
        if due or showing or asked:
            shown = looked_at(metrics, done)
        if showing:
            report(run, done, shown)
        if due:
            checkpoints.save(done, reached)
        if asked:
            run.stop(asked, checkpoints, done, reached, "sft updates")
    checkpoints.finish()
    return state.policy


def report(run, done, metrics):
    """Logs and shows the metrics of an update."""
    run.log.write("sft", done, metrics)
    run.log.flush()  # nothing is learned behind what could not be written
    run.display.step(done, metrics)
    run.display.stage("fine-tuning")


def looked_at(metrics, done):
    """Returns what is logged of an update, {name: float}, if it was finite."""
    found = of_update(metrics)
    refuse_non_finite(f"update {done}", found, "sft.optimization")
    return {name: found[name] for name in ("loss", "entropy", "grad_norm")}


def demonstrations(experiment, position):
    """Yields batches of solutions, each with the position behind it.

    Args:
        experiment: the `Experiment`.
        position: `START`, or one that this function has yielded.
    """
    settings = experiment.sft
    for index in range(position["phase"], len(settings.phases)):
        phase = settings.phases[index]
        stream = iter(solutions(experiment, phase.source))
        taken = 0
        if index == position["phase"] and position["stream"]:
            taken = position["taken"]
            stream.set_state(position["stream"])
        while taken < phase.updates:
            sequences, taken = next(stream), taken + 1
            behind = {"phase": index, "taken": taken, "stream": stream.get_state()}
            yield sequences, behind


def solutions(experiment, source):
    """Returns the dataset of `Sequences` with the solutions of one source."""
    settings, sampling = experiment.sft, experiment.sampling
    how = source, experiment.template, experiment.tokenizer
    if settings.row_length:
        return pipeline.packed_demonstrations(
            *how,
            rows=settings.batch,
            length=settings.row_length,
            seed=experiment.seed,
        )
    return pipeline.demonstrations(
        *how,
        batch=settings.batch,
        prompt_length=settings.prompt_length or sampling.prompt_length,
        response_length=settings.response_length or sampling.response_length,
        seed=experiment.seed,
    )
