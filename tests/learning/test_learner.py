"""One step of a learner on a batch that was made by hand: what is wired to what."""

import dataclasses
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import EXPERIMENTS, mesh_of

from maspo_jax import distributed
from maspo_jax.config import (
    Experiment,
    Objective,
    OverlongFilter,
    OverlongPenalty,
    loading,
)
from maspo_jax.data.sources import Problem
from maspo_jax.learning import learner as learners
from maspo_jax.learning import train_state as states
from maspo_jax.objectives import advantages, gates, kl
from maspo_jax.objectives.correction import RejectTokensByK3, TokenTruncated
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.surrogate import surrogate
from maspo_jax.objectives.terms import Imitation
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.types import Rollout, Sequences

PROMPTS, RESPONSES, LENGTH = 8, 4, 14  # of tiny.py
ROWS, TEMPERATURE, VERSION = PROMPTS * RESPONSES, 0.7, 6
# No two groups alike, and no row of a group where a transposition would put it.
REWARD = np.float32(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [1, 1, 0, 1],
        [0, 0, 0, 1],
        [0, 1, 1, 0],
        [1, 0, 1, 1],
        [0, 0, 1, 0],
        [1, 1, 0, 0],
    ]
)


@pytest.fixture(scope="module")
def build():
    """Makes the learner of the tiny experiment at a temperature, and its state."""
    tiny = loading.load(EXPERIMENTS / "tiny.py")

    def build(data=2, fsdp=2, updates=None, policy=None, **objective):
        experiment = dataclasses.replace(
            tiny,
            sampling=dataclasses.replace(tiny.sampling, temperature=TEMPERATURE),
            objective=Objective(gates.Maspo(), **objective),
            optimization=dataclasses.replace(tiny.optimization, learning_rate=1e-2),
            updates=dataclasses.replace(tiny.updates, **updates or {}),
            policy=dataclasses.replace(tiny.policy, **policy or {}),
        )
        mesh = mesh_of(data, fsdp)
        learner = learners.build(experiment, mesh)
        return learner, states.begin(experiment, learner.optimizer, mesh)

    return build


def rollout_of(learner, reward=REWARD):
    """Random tokens, of all lengths."""
    rng = np.random.default_rng(0)
    size = learner.experiment.decoder.vocabulary
    mask = np.arange(LENGTH)[None] < 1 + np.arange(ROWS)[:, None] % LENGTH
    sequences = Sequences(
        rng.integers(0, size, (ROWS, 6), np.int32),
        np.ones((ROWS, 6), bool),
        np.where(mask, rng.integers(0, size, (ROWS, LENGTH), np.int32), 0),
        mask,
    )
    rollout = Rollout(
        sequences, np.zeros(mask.shape, np.float32), np.full(ROWS, VERSION, np.int32)
    )
    rollout = distributed.shard_rows(rollout, learner.mesh)
    problems = [Problem(str(n), "?", "0") for n in range(PROMPTS)]
    return RewardedRollout(problems, rollout, reward, reward.reshape(-1) == 1, [], {})


def step(learner, state, reward=REWARD):
    """Returns the state, minibatches, metrics and traces of a step, as NumPy."""
    batch, metrics = learner.assemble(state.policy, rollout_of(learner, reward))
    seen = []
    for minibatch in learner.minibatches(batch, 3):
        state, measured, trace = learner.update(state, minibatch)
        metrics |= {} if seen else measured.compared
        minibatch, trace = jax.device_get((minibatch, trace))
        seen.append((minibatch, of_update(measured), trace))
    return state, jax.device_get(metrics), seen


def logprobs_of(policy, sequences):
    """At the temperature, on one device."""
    return np.asarray(
        jax.jit(response_logprobs, static_argnums=2)(
            jax.device_get(policy), jax.device_get(sequences), TEMPERATURE
        )[0]
    )


def test_the_ratio_is_anchored_to_the_policy_before_the_first_update(build):
    """Of two minibatches: rescored before the second, all gates would be the same."""
    learner, state = build()
    before = logprobs_of(state.policy, rollout_of(learner).rollout.sequences)
    _, metrics, seen = step(learner, state)
    assert len(seen) == 2
    rows = np.concatenate([minibatch.row for minibatch, _, _ in seen])
    assert sorted(rows) == list(range(ROWS))
    for minibatch, _, _ in seen:
        np.testing.assert_allclose(
            minibatch.old_logprob, before[minibatch.row], atol=1e-5
        )
        assert (minibatch.policy_version == VERSION).all()
    moved = [np.abs(trace.logprob - rows.old_logprob).max() for rows, _, trace in seen]
    assert moved[0] < 1e-5 and moved[1] > 1e-3
    assert seen[0][1]["ratio/max"] == pytest.approx(1, abs=1e-5)
    assert seen[1][1]["ratio/max"] > 1.001


WITHOUT_A_PASS = {
    "one update": ({"minibatches": 1}, {}),
    "one update, packed": ({"minibatches": 1, "row_length": 24}, {}),
    "the sampler's": ({"minibatches": 2}, {"anchor": "sampler"}),
    "two epochs of the sampler's": (
        {"minibatches": 1, "epochs": 2},
        {"anchor": "sampler"},
    ),
    "a reference": ({"minibatches": 1}, {"terms": (kl.Penalty(0.1, kl.k3),)}),
}


@pytest.mark.parametrize("name", WITHOUT_A_PASS)
def test_without_a_pass_before_it_the_first_update_is_the_same(
    build, monkeypatch, name
):
    updates, objective = WITHOUT_A_PASS[name]
    found, scored = [], []
    for first in (False, True):
        with monkeypatch.context() as patch:
            if first:
                patch.setattr(Experiment, "scores_first", True)
            learner, state = build(updates=updates, **objective)
            assert learner.experiment.scores_first == first
            if "reference_logprob" in learner.experiment.objective.needs:
                policy = jax.tree.map(jnp.array, state.policy)
                learner = dataclasses.replace(learner, reference=policy)
            count = lambda *words, first=first, score=learner.logprobs: (
                scored.append(first) or score(*words)
            )
            found.append(step(dataclasses.replace(learner, logprobs=count), state))
    reference = "a reference" in name
    assert scored == [False] * reference + [True] * (1 + reference)
    (state, metrics, seen), (usual, expected, passes) = found
    chex.assert_trees_all_close(
        *map(jax.tree.leaves, jax.device_get((state.policy, usual.policy))), atol=2e-3
    )
    for (rows, got, trace), (_, want, other) in zip(seen, passes, strict=True):
        mask = rows.sequences.response_mask
        np.testing.assert_allclose(trace.logprob[mask], other.logprob[mask], atol=1e-3)
        for each in ("loss", "grad_norm", "entropy", "ratio/mean"):
            np.testing.assert_allclose(got[each], want[each], rtol=1e-3, atol=1e-5)
    assert metrics.keys() == expected.keys()
    if updates["minibatches"] == 1:  # or else they are those of the first minibatch
        for each in metrics:
            np.testing.assert_allclose(
                metrics[each], expected[each], rtol=1e-4, atol=1e-6
            )
    assert seen[0][1]["ratio/mean"] == 1 or objective == {"anchor": "sampler"}


def test_the_first_minibatch_is_compared_with_the_sampler(build):
    learner, state = build(anchor="sampler")
    _, metrics, seen = step(learner, state)
    rows, _, trace = seen[0]
    mask = rows.sequences.response_mask
    largest = np.abs(np.where(mask, trace.logprob - rows.sampler_logprob, 0)).max()
    np.testing.assert_allclose(
        metrics["rollout_corr/logprob_diff_max"], largest, rtol=1e-6
    )
    np.testing.assert_array_equal(rows.old_logprob, rows.sampler_logprob)


def test_what_is_compared_is_the_whole_response_though_not_all_of_it_trains(build):
    """Responses that fill their row are left out of the loss."""
    found = []
    for filtered in (None, OverlongFilter(in_group=True)):
        learner, state = build(updates={"minibatches": 1}, overlong_filter=filtered)
        _, metrics, ((rows, _, _),) = step(learner, state)
        found.append(metrics["rollout_corr/kl"])
        left_out = rows.sequences.response_mask & ~rows.loss_mask
        assert left_out.any() == bool(filtered)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "updates, objective, first",
    [
        ({"minibatches": 2}, {}, True),
        ({"minibatches": 1, "epochs": 2}, {}, True),
        ({"minibatches": 1}, {}, False),
        ({"minibatches": 2}, {"anchor": "sampler"}, False),
        ({"minibatches": 1}, {"correction": TokenTruncated()}, True),
        ({"minibatches": 1}, {"kl_in_reward": kl.Penalty(0.1, kl.k1)}, True),
        (
            {"minibatches": 2},
            {"anchor": "sampler", "rejection": RejectTokensByK3()},
            True,
        ),
    ],
)
def test_a_pass_before_is_made_where_something_reads_it(updates, objective, first):
    tiny = loading.load(EXPERIMENTS / "tiny.py")
    experiment = dataclasses.replace(
        tiny,
        objective=Objective(gates.Maspo(), **objective),
        updates=dataclasses.replace(tiny.updates, **updates),
    )
    assert experiment.scores_first == first


def test_the_anchor_is_scored_with_the_cast_of_the_update(build):
    """In bfloat16 it differs from that of float32 by far more than rounding."""
    learner, state = build(policy={"compute_dtype": "bfloat16"})
    wide = logprobs_of(build()[1].policy, rollout_of(learner).rollout.sequences)
    _, _, seen = step(learner, state)
    rows, metrics, trace = seen[0]
    mask = rows.sequences.response_mask
    assert np.abs(rows.old_logprob - wide[rows.row])[mask].max() > 1e-4
    np.testing.assert_allclose(trace.logprob[mask], rows.old_logprob[mask], atol=1e-5)
    for name in ("ratio/max", "ratio/min"):
        assert metrics[name] == pytest.approx(1, abs=1e-5)


def test_every_advantage_follows_the_reward_of_its_own_response(build):
    learner, state = build()
    expected = np.sign(REWARD - REWARD.mean(axis=1, keepdims=True)).reshape(-1)
    for minibatch, _, _ in step(learner, state)[2]:
        mask = minibatch.sequences.response_mask
        of_row = np.broadcast_to(expected[minibatch.row][:, None], mask.shape)
        np.testing.assert_array_equal(np.sign(minibatch.advantage)[mask], of_row[mask])


def test_an_update_has_the_temperature_of_the_sampler(build):
    """The first is on-policy, so its gradient is that of the plain loss, at 0.7."""
    learner, state = build()
    policy = jax.device_get(state.policy)
    minibatch, metrics, trace = step(learner, state)[2][0]
    np.testing.assert_allclose(trace.logprob, minibatch.old_logprob, atol=1e-5)

    def loss(policy, temperature):
        logprob, _ = response_logprobs(policy, minibatch.sequences, temperature)
        return surrogate(logprob, minibatch, gates.Maspo())[0]

    norm = lambda *words: optax.tree.norm(
        jax.jit(jax.grad(loss), static_argnums=1)(*words)
    )
    np.testing.assert_allclose(metrics["grad_norm"], norm(policy, 0.7), rtol=1e-4)
    assert abs(norm(policy, 1.0) / metrics["grad_norm"] - 1) > 0.05


def test_the_rate_falls_over_all_updates_of_all_steps(monkeypatch):
    asked, make = [], learners.make_optimizer

    def record(settings, updates):
        asked.append(updates)
        return make(settings, updates)

    monkeypatch.setattr(learners, "make_optimizer", record)
    tiny = loading.load(EXPERIMENTS / "tiny.py")
    updates = dataclasses.replace(tiny.updates, minibatches=4, epochs=3)
    experiment = dataclasses.replace(tiny, updates=updates, steps=5)
    learners.build(experiment, mesh_of(1, 1))
    assert asked == [5 * 4 * 3]


def test_a_penalty_shifts_the_advantage(build):
    """All earn the same, so only what is taken from long responses can differ."""
    equal = np.ones_like(REWARD)
    plain, _ = build()
    penalized, state = build(overlong_penalty=OverlongPenalty(buffer=8))
    for learner, penalty in ((plain, False), (penalized, True)):
        batch, metrics = learner.assemble(state.policy, rollout_of(learner, equal))
        mask, advantage = jax.device_get(
            (batch.sequences.response_mask, batch.advantage)
        )
        length = mask.sum(axis=1)
        assert (metrics["overlong_penalty"] < 0) == penalty
        assert advantage.any() == penalty
        for group in range(PROMPTS if penalty else 0):
            rows = slice(group * RESPONSES, (group + 1) * RESPONSES)
            lost = np.maximum(length[rows] - (LENGTH - 8), 0)
            expected = np.sign(np.round(lost.mean() - lost, 5))
            np.testing.assert_array_equal(np.sign(advantage[rows, 0]), expected)


def test_layout_does_not_change_a_step(build):
    expected = step(*build(1, 1))
    for data, fsdp in ((8, 1), (2, 4)):
        found = step(*build(data, fsdp))
        policies = (jax.device_get(each[0].policy) for each in (found, expected))
        # Adam amplifies rounding of the gradients that are all but zero.
        chex.assert_trees_all_close(*map(jax.tree.leaves, policies), atol=2e-3)
        for (rows, got, _), (other, want, _) in zip(found[2], expected[2], strict=True):
            np.testing.assert_array_equal(rows.row, other.row)
            for name in ("loss", "grad_norm", "entropy", "gate/mean"):
                np.testing.assert_allclose(got[name], want[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("tokens, parts", [(20, 4), (41, 2), (79, 2), (1000, 1)])
def test_microbatches_of_so_many_tokens_make_the_same_step(
    build, monkeypatch, tokens, parts
):
    """Rows of 20 tokens, 4 on a device; 3 of them would fit, and do not divide."""
    asked, make = [], learners.make_update

    def record(*words):
        asked.append(words[-1])
        return make(*words)

    monkeypatch.setattr(learners, "make_update", record)
    pieces, make_logprobs = [], learners.make_logprobs
    monkeypatch.setattr(
        learners,
        "make_logprobs",
        lambda *words: pieces.append(words[-1]) or make_logprobs(*words),
    )
    same = build(updates={"microbatch_tokens": tokens})
    assert asked == [parts] and pieces == [2 * parts]
    if parts == 4:
        expected = step(*build(updates={"microbatches": parts}))
        chex.assert_trees_all_equal(*map(leaves_of, (step(*same), expected)))
    if tokens == 41:
        whole, found = step(*build()), step(*same)
        for (_, got, _), (_, want, _) in zip(found[2], whole[2], strict=True):
            for name in ("loss", "grad_norm", "entropy"):
                np.testing.assert_allclose(got[name], want[name], rtol=1e-3, atol=1e-5)


def leaves_of(stepped):
    """The policy behind a step, and its metrics."""
    state, metrics, seen = stepped
    return jax.tree.leaves((jax.device_get(state), metrics, [row[1] for row in seen]))


@pytest.mark.parametrize(
    "objective",
    [
        {},
        {"advantage": advantages.smoothed, "correction": TokenTruncated()},
        {"terms": (kl.Penalty(0.1, kl.k3), Imitation(0.1))},
    ],
    ids=["usual", "history", "reference"],
)
def test_the_update_that_is_compiled_ahead_is_the_one_that_runs(build, objective):
    programs = []
    for ahead in (0, 1):
        learner, state = build(**objective)
        if "reference_logprob" in learner.experiment.objective.needs:
            policy = jax.tree.map(jnp.array, state.policy)
            learner = dataclasses.replace(learner, reference=policy)
        clock = Clock(None)
        if ahead:
            learner.compile_ahead().join()
        assert clock.programs_compiled() == ahead
        step(learner, state)
        programs.append(clock.programs_compiled())
    assert programs[0] == programs[1]


def test_a_call_waits_for_its_program():
    """Or it would compile it again."""
    clock, may_go_on = Clock(None), threading.Event()
    ahead = learners.AheadOfTime(jax.jit(lambda x: x - 7))

    def shapes():
        may_go_on.wait(60)
        return (jax.ShapeDtypeStruct((), jnp.float32),)

    thread, found = ahead.compile(shapes), []
    call = threading.Thread(target=lambda: found.append(int(ahead(np.float32(9)))))
    call.start()
    call.join(0.2)
    assert not found
    may_go_on.set()
    call.join(60)
    assert found == [2] and not thread.is_alive()
    assert clock.programs_compiled() == 1


def test_rates_are_swept_without_another_program(build):
    learner, state = build(1, 1)
    batch, _ = learner.assemble(state.policy, rollout_of(learner))
    minibatch = next(learner.minibatches(batch, 3))
    clock, moved, programs = Clock(None), [], []
    for rate in (1e-2, 1e-3):
        copy = jax.tree.map(jnp.array, state)
        copy.opt_state.hyperparams["learning_rate"] = jnp.float32(rate)
        moved.append(float(learner.update(copy, minibatch)[1].update_norm))
        programs.append(clock.programs_compiled())
    np.testing.assert_allclose(moved[0] / moved[1], 10, rtol=1e-4)
    assert programs[0] == programs[1] > 0
