"""Rollouts drawn in waves of whole prompts, all of one compiled shape.

for each wave:
    wait until it is drawn
    have the next one drawn, while this one is graded

A wave bounds the memory: cache and scores are those of its rows. What is drawn for a
row depends on the key and on its number in the whole draw alone, so the size of a wave
changes no token. A wave takes from every device the next of the device's own prompts:
no row ever moves to another one.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax import distributed


@dataclasses.dataclass(frozen=True)
class WavePlan:
    """How the prompts of a draw are cut into waves, all of one shape."""

    prompts: int  # P, of all processes
    size: int  # W, prompts of a wave
    shards: int  # devices that rows are split over; their number divides P and W

    @property
    def count(self):
        """How many waves there are."""
        return math.ceil(self.prompts / self.size)

    def prompts_of(self, wave):
        """Returns the prompts of a wave, [W], of all processes.

        The last wave is filled up with the last prompt of each device.
        """
        each, own = self.size // self.shards, self.prompts // self.shards
        place = np.minimum(wave * each + np.arange(each), own - 1)
        return (own * np.arange(self.shards)[:, None] + place[None]).reshape(-1)

    def own_prompts_of(self, wave):
        """Returns those of this process, counted from its first one."""
        first = distributed.host_slice(self.prompts).start
        return self.prompts_of(wave)[distributed.host_slice(self.size)] - first


def plan_waves(prompts, size, mesh):
    """Returns the `WavePlan` of a draw of P prompts, at most `size` at a time."""
    return WavePlan(prompts, min(size, prompts), mesh.size)


def in_turn(draw, count, between=lambda: None):
    """Returns an iterator of what each wave has drawn, with the next one under way.

    The first is under way when this returns. Never two at once: each would hold a
    cache, and simulated devices may wait for each other forever where two programs
    overlap that both talk between them.

    Args:
        draw: a function of the number of a wave that has it drawn.
        count: how many waves there are.
        between: called before each wave but the first, while none is under way.
    """
    return _in_turn(draw(0), draw, count, between)


def _in_turn(under_way, draw, count, between):
    for following in range(1, count + 1):
        drawn = jax.block_until_ready(under_way)
        if following < count:
            between()
            under_way = draw(following)
        yield drawn


def join(rollouts, plan, mesh):
    """Returns the one `Rollout` of all waves, N rows in the order of the prompts.

    Args:
        rollouts: of each wave, in order, split by rows over `mesh`.
        plan: the `WavePlan`.
        mesh: the mesh; what is returned is split likewise.
    """
    if len(rollouts) == 1:
        return rollouts[0]
    rows = len(rollouts[0].sampler_logprob) * plan.prompts // (plan.size * plan.shards)
    return _join(rollouts, rows, mesh)


@functools.partial(jax.jit, static_argnames=("rows", "mesh"))
def _join(rollouts, rows, mesh):
    """Joins the rows that each device has drawn; what filled the last wave goes."""
    whole = lambda *parts: jnp.concatenate(parts)[:rows]
    return jax.shard_map(
        lambda rollouts: jax.tree.map(whole, *rollouts),
        mesh=mesh,
        in_specs=distributed.BATCH,
        out_specs=distributed.BATCH,
    )(rollouts)
