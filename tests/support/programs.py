"""Programs of an update, compiled for shapes instead of arrays."""

import jax
import jax.numpy as jnp

from maspo_jax.config import Optimization
from maspo_jax.distributed import BATCH
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import make_optimizer
from maspo_jax.learning.update import make_update
from maspo_jax.models.sharding import param_specs
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method
from maspo_jax.types import Sequences, TrainBatch

ADAMW = make_optimizer(Optimization(1e-6), 100)


def update_of(config, mesh, *, optimizer=ADAMW, loss=policy_loss, microbatches=1):
    """Returns the update of a policy on a mesh."""
    specs = param_specs(states.skeleton(config, optimizer, mesh).policy, mesh)
    return make_update(loss, optimizer, mesh, specs, microbatches=microbatches)


def lowered_update(config, mesh, rows, prompt, response, *, platform="cpu", **options):
    """Returns the update of so many rows and tokens, lowered for a mesh.

    Args:
        config: of the policy.
        mesh: of devices that are here, or not.
        rows: of the batch.
        prompt: tokens of a prompt.
        response: tokens of a response.
        platform: what it is lowered for.
        **options: of `update_of`.
    """
    optimizer = options.get("optimizer", ADAMW)
    update = update_of(config, mesh, **options)
    state = states.skeleton(config, optimizer, mesh)
    sharding = jax.NamedSharding(mesh, BATCH)
    array = lambda width, dtype: jax.ShapeDtypeStruct(
        (rows, width), dtype, sharding=sharding
    )
    batch = TrainBatch(
        Sequences(
            array(prompt, jnp.int32),
            array(prompt, bool),
            array(response, jnp.int32),
            array(response, bool),
        ),
        *(array(response, jnp.float32) for _ in range(3)),
    )
    traced = update.trace(state, batch, Method(gates.Maspo()))
    return traced.lower(lowering_platforms=(platform,))
