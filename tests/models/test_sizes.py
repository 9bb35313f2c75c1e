"""The sizes of the papers, without their weights: names, shapes, programs."""

import math

import jax
import jax.numpy as jnp
import pytest
from conftest import mesh_of
from support.hollow import tensors_by_hand, write_hollow

from maspo_jax.config import Optimization
from maspo_jax.distributed import BATCH
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import make_optimizer
from maspo_jax.learning.update import make_update
from maspo_jax.models import presets
from maspo_jax.models.huggingface import load
from maspo_jax.models.huggingface.save import tensors_of
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method
from maspo_jax.types import Sequences, TrainBatch

# Parameters of the released checkpoints, in billions.
SIZES = {
    "DEEPSEEK_R1_DISTILL_QWEN_1_5B": 1.777,
    "DEEPSEEK_R1_DISTILL_QWEN_7B": 7.616,
    "DEEPSEEK_R1_DISTILL_QWEN_14B": 14.770,
}
every_size = pytest.mark.parametrize("name", SIZES)


@every_size
def test_names_and_shapes_are_those_of_the_checkpoint(name, tmp_path):
    config = getattr(presets, name)
    write_hollow(tmp_path, config)
    assert load.Checkpoint(str(tmp_path)).config == config
    _, targets = load.verify(tmp_path, config)
    count = sum(math.prod(shape) for *_, shape in targets.values())
    assert count / 1e9 == pytest.approx(SIZES[name], abs=5e-4)


@every_size
def test_export_would_write_the_same_tensors(name):
    config = getattr(presets, name)
    skeleton = load.skeleton(config)
    written = {tensor: shape for tensor, shape, _ in tensors_of(skeleton)}
    assert written == tensors_by_hand(config)


@every_size
def test_the_update_compiles_for_eight_devices(name):
    """And no device ever holds the whole policy, let alone the logits."""
    config = getattr(presets, name)
    mesh = mesh_of(1, 8)
    optimizer = make_optimizer(Optimization(1e-6), 100)
    state = states.skeleton(config, optimizer, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, state.policy)
    update = make_update(policy_loss, optimizer, mesh, specs, microbatches=2)

    def rows(width, dtype):
        sharding = jax.NamedSharding(mesh, BATCH)
        return jax.ShapeDtypeStruct((16, width), dtype, sharding=sharding)

    batch = TrainBatch(
        Sequences(
            rows(64, jnp.int32), rows(64, bool), rows(192, jnp.int32), rows(192, bool)
        ),
        *(rows(192, jnp.float32) for _ in range(3)),
    )
    compiled = update.lower(state, batch, Method(gates.Maspo())).compile()
    memory = compiled.memory_analysis()
    parameters = 4e9 * SIZES[name]
    # Of the policy and two moments, each device holds an eighth, and little more.
    assert memory.argument_size_in_bytes < 3 * parameters / 8 * 1.01
    assert memory.temp_size_in_bytes < parameters
