"""The state of training: where it begins, and how it lies over the devices."""

import functools

import jax

from maspo_jax.models.decoder import init_decoder
from maspo_jax.models.huggingface import load
from maspo_jax.models.sharding import abstract_params
from maspo_jax.runs.keys import key_for
from maspo_jax.types import TrainState

# On a CPU, a policy of so few numbers is drawn sooner than a faster program compiles.
SMALL = 2**22


def skeleton(config, optimizer, mesh):
    """Returns the shape, dtype and sharding of every leaf of a `TrainState`.

    Args:
        config: the `DecoderConfig` of the policy.
        optimizer: an Optax transformation.
        mesh: the mesh the state will lie on.
    """
    shapes = jax.eval_shape(lambda: _create(config, optimizer, jax.random.key(0)))
    return abstract_params(shapes, mesh)


def begin(experiment, optimizer, mesh):
    """Returns the `TrainState` before any update, of a checkpoint or at random."""
    policy = experiment.policy
    if isinstance(policy, load.Checkpoint):
        places = _shardings(skeleton(policy.config, optimizer, mesh)).policy
        read = load.load(policy.folder, policy.config, places)
        return adopt(read, optimizer, mesh)
    key = key_for("initialization", experiment.seed)
    return create(policy, optimizer, mesh, key)


def create(config, optimizer, mesh, key):
    """Returns the `TrainState` of a policy drawn at random, each shard in its place."""
    shapes = skeleton(config, optimizer, mesh)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(shapes.policy))
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    quickly = {"xla_backend_optimization_level": 0}
    make = jax.jit(
        functools.partial(_create, config, optimizer),
        out_shardings=_shardings(shapes),
        compiler_options=quickly if on_cpu and numbers <= SMALL else None,
    )
    return make(key)


def adopt(policy, optimizer, mesh):
    """Returns a `TrainState` that goes on from a policy with a fresh optimizer."""
    shardings = _shardings(skeleton(policy.config, optimizer, mesh))
    policy = jax.device_put(policy, shardings.policy)
    begin = functools.partial(_begin, optimizer)
    return jax.jit(begin, out_shardings=shardings)(policy)


def _create(config, optimizer, key):
    return _begin(optimizer, init_decoder(config, key))


def _begin(optimizer, policy):
    return TrainState(policy, optimizer.init(policy))


def _shardings(skeleton):
    return jax.tree.map(lambda leaf: leaf.sharding, skeleton)
