"""A step whose responses are read packed, or in buckets, is the step of padded rows."""

import dataclasses
import inspect
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXPERIMENTS, command, measured, mesh_of
from support.updates import OPTIMIZER

from maspo_jax import distributed
from maspo_jax.config import (
    Objective,
    OverlongFilter,
    OverlongPenalty,
    Sampling,
    Updates,
    loading,
)
from maspo_jax.data.sources import Problem
from maspo_jax.learning import batches
from maspo_jax.learning import learner as learners
from maspo_jax.learning import train_state as states
from maspo_jax.objectives import advantages, gates, kl, token_weights
from maspo_jax.objectives.correction import RejectResponses, SequenceTruncated
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.terms import EntropyBonus, Imitation
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.types import LengthBuckets, Packing, Rollout, Sequences

PROMPTS, RESPONSES, L, T = 8, 4, 6, 14  # of tiny.py
ROWS = PROMPTS * RESPONSES
ADVANTAGES = [
    function
    for name, function in vars(advantages).items()
    if inspect.isfunction(function)
    and list(inspect.signature(function).parameters)[:2] == ["reward", "mask"]
    and not name.startswith(("_", "token_", "outcome_"))
]


@pytest.fixture(scope="module")
def build():
    """Makes the learner of the tiny experiment, which ascends without Adam."""
    tiny = loading.load(EXPERIMENTS / "tiny.py")

    def build(data, fsdp, updates, **objective):
        settings = {"minibatches": 2, "epochs": 2} | updates
        experiment = dataclasses.replace(
            tiny,
            objective=Objective(objective.pop("gate", gates.Gspo()), **objective),
            updates=dataclasses.replace(tiny.updates, **settings),
        )
        mesh = mesh_of(data, fsdp)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learners, "make_optimizer", lambda *_: OPTIMIZER)
            learner = learners.build(experiment, mesh)
        state = states.begin(experiment, OPTIMIZER, mesh)
        if "reference_logprob" in experiment.objective.needs:
            other = jax.tree.map(lambda x: 0.9 * x, state.policy)
            learner = dataclasses.replace(learner, reference=other)
        return learner, state

    return build


def rollout_of(learner, seed=0):
    """Many short responses, some of the full length, one of one token, one of none."""
    draw = np.random.default_rng(seed)
    size = learner.experiment.decoder.vocabulary
    response = np.clip(draw.lognormal(0.7, 1, ROWS).astype(int), 1, T)
    response[[2, 8, 19]] = 1, 0, T
    mask = np.arange(T)[None] < response[:, None]
    prompt = np.repeat(draw.integers(1, L + 1, PROMPTS), RESPONSES)
    sequences = Sequences(
        draw.integers(0, size, (ROWS, L), np.int32),
        np.arange(L)[None] >= L - prompt[:, None],
        draw.integers(0, size, (ROWS, T), np.int32),
        mask,
    )
    sampled = np.where(mask, -1 - draw.random(mask.shape), 0).astype(np.float32)
    version = np.full(ROWS, 3, np.int32)
    rollout = distributed.shard_rows(Rollout(sequences, sampled, version), learner.mesh)
    problems = [Problem(str(n), "?", "0") for n in range(PROMPTS)]
    reward = draw.integers(0, 2, (PROMPTS, RESPONSES)).astype(np.float32)
    return RewardedRollout(problems, rollout, reward, reward.reshape(-1) == 1, [], {})


def step(learner, state, seed=0):
    """Returns the policy, what is known of each row, and the metrics of a step."""
    batch, metrics = learner.assemble(state.policy, rollout_of(learner, seed))
    updates, rows, readings = [], [], []
    for minibatch in learner.minibatches(batch, 3):
        state, found, trace = learner.update(state, minibatch)
        minibatch, trace = jax.device_get((minibatch, trace))
        updates.append(of_update(found))
        readings.append(minibatch.sequences.reading)
        plain = minibatch.replace(sequences=minibatch.sequences.replace(reading=None))
        order = np.argsort(plain.row)
        rows.append(jax.tree.map(lambda x, order=order: x[order], (plain, trace)))
    metrics = {name: float(value) for name, value in metrics.items()}
    return jax.device_get(state.policy), rows, updates, metrics, readings


def assert_same(found, expected):
    chex.assert_trees_all_close(found[0], expected[0], atol=1e-5)
    chex.assert_trees_all_close(found[1], expected[1], atol=1e-4, rtol=1e-4)
    for got, want in zip(found[2], expected[2], strict=True):
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_allclose(
                got[name], value, rtol=1e-4, atol=1e-5, err_msg=name
            )
    for name, value in expected[3].items():
        np.testing.assert_allclose(
            found[3][name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


EVERYTHING = {
    "gate": gates.Gmpo(),
    "advantage": advantages.smoothed,
    "weight": token_weights.sequence_mean,
    "correction": SequenceTruncated(),
    "rejection": RejectResponses(0.1, 20.0),
    "overlong_penalty": OverlongPenalty(4),
    "overlong_filter": OverlongFilter(in_group=False),
    "kl_in_reward": kl.Penalty(0.01, kl.k1),
    "advantage_shaping": advantages.EntropyAdvantage(),
    "terms": (kl.Penalty(0.1, kl.k3), Imitation(0.1), EntropyBonus(0.01)),
}
FITTED = {"gate": gates.Bapo(target=0.9), "anchor": "sampler"}


@pytest.mark.parametrize(
    "layout, updates, objective",
    [
        ((1, 1), {"row_length": 19}, {}),
        ((1, 1), {"row_length": 50, "microbatches": 4}, FITTED),
        ((2, 4), {"row_length": 24, "microbatches": 2}, EVERYTHING),
        ((2, 4), {"length_buckets": 2, "microbatches": 2}, {}),
    ],
    ids=["gspo", "fitted, long rows", "everything, 8 devices", "buckets, 8 devices"],
)
def test_a_step_is_that_of_padded_rows(build, layout, updates, objective):
    plain = {"microbatches": updates.get("microbatches", 1)}
    expected = step(*build(*layout, plain, **objective))
    found = step(*build(*layout, updates, **objective))
    assert_same(found, expected)
    assert expected[4] == [None] * 4
    kind = Packing if "row_length" in updates else LengthBuckets
    assert [type(reading) for reading in found[4]] == [kind] * 4
    if kind is Packing:
        read = [reading.microbatches * reading.rows for reading in found[4]]
        assert max(read) * updates["row_length"] < 16 // np.prod(layout) * 19
        assert 0 <= found[3]["padding"] < 1


def test_every_advantage_is_found():
    assert {advantages.group_normalized, advantages.smoothed} < set(ADVANTAGES)
    assert len(ADVANTAGES) >= 9


@pytest.mark.parametrize("advantage", ADVANTAGES, ids=lambda each: each.__name__)
def test_every_advantage(build, advantage):
    """It is taken before rows are packed, and goes with each token."""
    found = []
    for updates in ({}, {"row_length": 24}):
        learner, state = build(1, 1, updates, advantage=advantage)
        batch, _ = learner.assemble(state.policy, rollout_of(learner))
        minibatches = [jax.device_get(each) for each in learner.minibatches(batch, 3)]
        rows = [np.argsort(each.row) for each in minibatches]
        found.append(
            [
                (each.row[order], each.advantage[order], each.weight[order])
                for each, order in zip(minibatches, rows, strict=True)
            ]
        )
    chex.assert_trees_all_close(found[1], found[0], atol=1e-5)


def test_groups_stay_together(build):
    learner, state = build(1, 1, {"row_length": 24})
    batch, _ = learner.assemble(state.policy, rollout_of(learner))
    seen = [jax.device_get(each.row) for each in learner.minibatches(batch, 3)]
    plain, _ = build(1, 1, {})
    for rows, others in zip(
        seen,
        plain.minibatches(plain.assemble(state.policy, rollout_of(plain))[0], 3),
        strict=True,
    ):
        assert set(rows) == set(np.asarray(others.row))
        groups = [
            list(rows // RESPONSES).count(group) for group in set(rows // RESPONSES)
        ]
        assert set(groups) == {RESPONSES}


def test_a_step_of_other_lengths_needs_no_other_program_where_rows_are_as_many(build):
    learner, state = build(1, 1, {"row_length": 24, "epochs": 1})
    shapes, compiled, clock = [], [], Clock(None)
    for seed in range(4):
        batch, _ = learner.assemble(state.policy, rollout_of(learner, seed))
        for minibatch in learner.minibatches(batch, seed):
            copy = jax.block_until_ready(jax.tree.map(jnp.array, state))
            before = clock.programs_compiled()
            learner.update(copy, minibatch)
            reading = minibatch.sequences.reading
            compiled.append(clock.programs_compiled() > before)
            shapes.append((reading.microbatches, reading.rows))
    assert compiled == [shape not in shapes[:at] for at, shape in enumerate(shapes)]
    assert sum(compiled) < 12


@pytest.mark.slow
def test_a_run_learns_what_a_padded_one_does(tmp_path):
    """With dynamic sampling, and what is written of each response."""
    lines, metrics = [], []
    for name, words in (("plain", []), ("packed", ["--updates.row-length", 40])):
        folder = tmp_path / name
        usual = ("--run", folder, "--steps", 1, "--rollouts-every", 1)
        status, output = command(EXPERIMENTS / "tiny_all.py", *usual, *words)
        assert status == 0, output
        assert ("packed rows of 40, by reference" in output) == bool(words)
        rows = (folder / "rollouts" / "step_000001.jsonl").read_text().splitlines()
        rows = [json.loads(row) for row in rows]
        # A problem may come twice in a step.
        by = lambda row: (row["problem"], row["sample"], row["response"])
        lines.append(sorted(rows, key=by))
        metrics.append(measured(folder))
    for one, other in zip(*lines, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if name in ("old_logprob", "ratio", "gate", "advantage"):
                np.testing.assert_allclose(other[name], value, atol=2e-3)
            else:
                assert other[name] == value
    for one, other in zip(*metrics, strict=True):
        assert other.keys() - one.keys() <= {"padding"}
        for name in ("loss", "grad_norm", "rollout_corr/kl", "entropy"):
            if name in one:
                np.testing.assert_allclose(other[name], one[name], atol=2e-3)


def test_a_plan_is_of_the_longest_responses(build):
    """Of 19 columns, two of which fit a row; the program of a run follows later."""
    learner, _ = build(1, 1, {"row_length": 40})
    batch = learner.minibatch_shapes()
    reading = batch.sequences.reading
    assert (reading.microbatches, reading.rows, reading.length) == (1, 8, 40)
    assert reading.start.shape == batch.row.shape == (16,)
    assert learner.compile_ahead() is None
    sequences, order, reading = learner.scored_shapes(
        Sequences(*[jax.ShapeDtypeStruct((ROWS, 1), jnp.int32)] * 4)
    )
    assert reading.rows * reading.microbatches == ROWS // 2 and len(order) == ROWS
    assert sequences.response_mask.shape == (ROWS, 1)


def test_widths_of_short_rows_are_there_once():
    updates = Updates(minibatches=1, microbatches=2, length_buckets=16)
    sampling = Sampling(prompts=2, responses=2, prompt_length=2, response_length=4)
    _, reading = batches.make_reader(updates, sampling, 1)(np.array([2, 3, 4, 5]))
    assert reading.widths == (1, 2, 3, 4, 5)
