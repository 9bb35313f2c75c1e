"""What must not change an update does not, for every gate and every token weight."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from support.members import GATES, every_gate, every_weight
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import packing
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_update
from maspo_jax.objectives import gates, token_weights
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.testbeds.study import OneOf
from maspo_jax.types import LengthBuckets, Packing, columns_read

PLAIN, SPLIT = (1, 1, 1), (2, 2, 2)  # data, fsdp, microbatches
ALONE = tuple(gate for gate in GATES if not isinstance(gate, gates.BatchFitted))
every_gate_and_weight = lambda test: every_gate(every_weight(test))


@pytest.fixture(scope="module")
def batch(tiny_policy):
    return example_batch(tiny_policy)


@pytest.fixture(scope="module")
def update(tiny_policy, untied_policy):
    """One update: compiled once per layout for all gates that are not fitted."""
    policies = {True: tiny_policy, False: untied_policy}

    @functools.cache
    def compiled(kind, layout, tied):
        mesh, start = mesh_of(*layout[:2]), policies[tied]
        skeleton = states.skeleton(start.config, OPTIMIZER, mesh)
        specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
        step = make_update(policy_loss, OPTIMIZER, mesh, specs, microbatches=layout[2])

        def go(batch, gate):
            copy = jax.tree.map(jnp.array, start)
            state = states.adopt(copy, OPTIMIZER, mesh)
            rows = distributed.shard_rows(batch, mesh)
            state, metrics, trace = step(state, rows, Method(gate))
            policy, value = jax.device_get((state.policy, trace.gate))
            return policy, of_update(metrics), value

        return go

    def update(batch, gate, layout=PLAIN, tied=True):
        kind = type(gate)
        if isinstance(gate, gates.BatchFitted):  # with a target between the stops
            gate = gate.replace(target=0.97 if kind is gates.Bapo else 0.56)
        else:
            kind, gate = OneOf, OneOf(ALONE, jnp.int32(ALONE.index(gate)))
        return compiled(kind, layout, tied)(batch, gate)

    return update


def weighed(batch, weight):
    return batch.replace(
        weight=np.asarray(weight(batch.sequences.response_mask), np.float32)
    )


def assert_same(found, expected):
    """Of policies, metrics and gates, but for rounding."""
    chex.assert_trees_all_close(found[0], expected[0], atol=1e-5)
    chex.assert_trees_all_close(found[2], expected[2], rtol=1e-4)
    for name, number in expected[1].items():
        np.testing.assert_allclose(
            found[1][name], number, rtol=1e-3, atol=1e-4, err_msg=name
        )


@every_gate_and_weight
def test_devices_and_microbatches(update, batch, gate, weight):
    batch = weighed(batch, weight)
    assert_same(update(batch, gate, SPLIT), update(batch, gate))


@every_gate
def test_devices_and_microbatches_of_a_head_of_its_own(update, batch, gate):
    plain, split = (update(batch, gate, way, tied=False) for way in (PLAIN, SPLIT))
    assert plain[0].head is not None
    assert_same(split, plain)


@every_gate_and_weight
def test_the_order_of_rows(update, batch, gate, weight):
    batch = weighed(batch, weight)
    order = np.random.default_rng(1).permutation(16)
    policy, metrics, value = update(batch, gate)
    shuffled = update(jax.tree.map(lambda x: x[order], batch), gate)
    assert_same(shuffled, (policy, metrics, value[order]))


@every_gate_and_weight
def test_what_stands_on_padding(update, batch, gate, weight):
    """Not even NaN there changes one bit."""
    batch = weighed(batch, weight)
    mask, sequences = batch.sequences.response_mask, batch.sequences
    garbage = batch.replace(
        old_logprob=np.where(mask, batch.old_logprob, np.nan),
        advantage=np.where(mask, batch.advantage, np.inf),
        sequences=sequences.replace(
            prompt=np.where(sequences.prompt_mask, sequences.prompt, 5),
            response=np.where(mask, sequences.response, 3),
        ),
    )
    found, expected = update(garbage, gate), update(batch, gate)
    chex.assert_trees_all_equal(found[:2], expected[:2])
    np.testing.assert_array_equal(found[2][mask], expected[2][mask])


@every_gate_and_weight
def test_the_length_a_batch_is_padded_to(update, batch, gate, weight):
    batch = weighed(batch, weight)
    after = lambda x: np.pad(x, ((0, 0), (0, 5)))
    before = lambda x: np.pad(x, ((0, 0), (3, 0)))
    sequences = batch.sequences
    wider = batch.replace(
        sequences=sequences.replace(
            prompt=before(sequences.prompt),
            prompt_mask=before(sequences.prompt_mask),
            response=after(sequences.response),
            response_mask=after(sequences.response_mask),
        ),
        old_logprob=after(batch.old_logprob),
        advantage=after(batch.advantage),
        weight=after(batch.weight),
    )
    policy, metrics, value = update(wider, gate)
    assert_same((policy, metrics, value[:, :7]), update(batch, gate))


def packed(batch, layout):
    """Read in rows of two texts or more, with and without a full one."""
    lengths = np.asarray(columns_read(batch.sequences))
    plan = packing.plan(lengths, 16, layout[0] * layout[1], most=16)
    assert plan.rows * 16 * layout[0] * layout[1] * plan.microbatches < 16 * 10
    reading = Packing(plan.start, plan.microbatches, plan.rows, 16)
    return plan.order, reading


def in_buckets(batch, layout):
    """Read in rows of two widths, the longest texts first."""
    lengths = np.asarray(columns_read(batch.sequences))
    order = packing.sort_by_length(lengths, layout[0] * layout[1])
    return order, LengthBuckets((5, 10))


@pytest.mark.parametrize(
    "read, layout",
    [(packed, PLAIN), (packed, SPLIT), (in_buckets, SPLIT)],
    ids=["packed", "packed, 4 devices", "buckets, 4 devices"],
)
@every_gate
def test_how_rows_are_read(update, batch, gate, layout, read):
    """Packed or in buckets: the same policy, metrics, gates, of one response a row."""
    batch = weighed(batch, token_weights.sequence_mean)
    order, reading = read(batch, layout)
    policy, metrics, value = update(batch, gate)
    rows = jax.tree.map(lambda x: x[order], batch)
    rows = rows.replace(sequences=rows.sequences.replace(reading=reading))
    found = update(rows, gate, layout)
    assert_same(found, (policy, metrics, value[order]))


def test_on_policy_every_gate_makes_the_same_update(update, batch, tiny_policy):
    """So with one update per rollout the method cannot matter."""
    logprob, _ = jax.jit(response_logprobs, static_argnums=2)(
        tiny_policy, batch.sequences, 1.0
    )
    batch = batch.replace(old_logprob=np.asarray(logprob))
    expected, metrics, _ = update(batch, gates.Clip())
    assert metrics["grad_norm"] > 0.01
    mask = batch.sequences.response_mask
    for gate in GATES:
        for layout in (PLAIN, SPLIT):
            policy, _, value = update(batch, gate, layout)
            chex.assert_trees_all_close(policy, expected, atol=1e-6)
            np.testing.assert_allclose(value[mask], 1, rtol=1e-4)
