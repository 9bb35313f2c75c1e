"""The sampler: prompts in, responses out, in one compiled program.

Prompts are read once, whatever the number of responses to each. Then `slots` draws one
token per row and step until every row has ended.

Devices along the axis `tensor` of the mesh feed the rows of all of them, each to the
heads it holds, and add up what these say. From the hidden states behind that, each
draws the tokens of its own rows, as everywhere else.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.cache import cache_of_rows
from maspo_jax.models.decoder import Decoder
from maspo_jax.rollout import slots
from maspo_jax.rollout.weights import cast_for_sampling, sampling_specs
from maspo_jax.settings import check_intervals, setting
from maspo_jax.types import Rollout, Sequences, rows_of

PREFILLED = 2**14  # tokens of prompts that a device reads at a time


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """What to draw for each prompt, and how."""

    responses: int = setting(interval="[1, inf)")  # G
    # T, the longest response in tokens, its end included
    length: int = setting(interval="[1, inf)")
    eos_tokens: tuple[int, ...]  # the tokens that end a response
    pad: int  # the token that fills what follows
    temperature: float = setting(1.0, "[0, inf)")  # 0 is greedy
    top_p: float = setting(1.0, "(0, 1]")
    # When the shards of the policy along `fsdp` are gathered. It changes nothing drawn.
    gather: Literal["once", "layer"] = "once"
    # Rows that a device draws at a time; None: all that it is given. It changes nothing
    # drawn.
    slots: int | None = setting(None, "[1, inf)", none="all rows")

    def __post_init__(self):
        """Refuses settings that name no distribution."""
        check_intervals(self)
        if not self.eos_tokens:
            raise ValueError(
                "eos_tokens=(): give at least one token that ends a response"
            )
        if self.gather not in ("once", "layer"):
            raise ValueError(f"gather={self.gather!r}: choose once or layer")


@functools.partial(jax.jit, static_argnames=("decoding", "mesh"))
def sample(policy, prompts, key, decoding, mesh, number=None):
    """Draws responses to prompts.

    Args:
        policy: a `Decoder`, laid out in any way.
        prompts: `Prompts` of P rows, split by rows over `mesh`.
        key: row n draws its token t with `key` folded with n and with t, so that
            no row depends on another.
        decoding: the `SamplingParams` settings.
        mesh: the mesh; P must be a multiple of its size.
        number: [P] int32 of each prompt, if these are some of more: row n of all is a
            response to number n // G. None: they are all.

    Returns:
        A `Rollout` of N = P * G rows, split by rows.
    """
    if number is None:
        number = jnp.arange(prompts.tokens.shape[0])
    rows = rows_of(number, decoding.responses)
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)
    return sample_with_keys(policy, prompts, keys, decoding, mesh)


@functools.partial(jax.jit, static_argnames=("decoding", "mesh"))
def sample_with_keys(policy, prompts, keys, decoding, mesh):
    """Draws responses as `sample` does, each row with a key of its own.

    A row's draw then stays the same in whatever batch it is drawn.

    Args:
        policy: a `Decoder`, laid out in any way.
        prompts: `Prompts` of P rows, split by rows over `mesh`.
        keys: [N]; row n draws its token t with `keys[n]` folded with t.
        decoding: the `SamplingParams` settings.
        mesh: the mesh; P must be a multiple of its size.

    Returns:
        A `Rollout` of N = P * G rows, split by rows.
    """
    sharding.check_tensor(policy.config, mesh.shape["tensor"])
    policy = cast_for_sampling(policy)
    specs = sharding.param_specs(policy, mesh)
    draw = functools.partial(generate_local, specs=specs, decoding=decoding, mesh=mesh)
    held = sampling_specs(policy, mesh, decoding.gather)
    return jax.shard_map(
        draw,
        mesh=mesh,
        in_specs=(held, distributed.BATCH, distributed.BATCH),
        out_specs=distributed.BATCH,
    )(policy, prompts, keys)


def generate_local(policy, prompts, row_keys, specs, decoding, mesh):
    """Does the work of `sample_with_keys` for the rows of one device.

    Args:
        policy: a `Decoder` of shards, as `weights.sampling_specs` says.
        prompts: `Prompts`, those of this device.
        row_keys: [N], likewise.
        specs: of `models.sharding.param_specs`.
        decoding: the `SamplingParams` settings.
        mesh: the mesh.
    """
    model, rows = split_policy(policy, specs, decoding, mesh), len(row_keys)
    read = prefill(model, prompts)
    count = min(decoding.slots or rows, rows)
    drawn = slots.draw_rows(model, read, row_keys, decoding, count)
    written = jnp.arange(decoding.length)[None] < drawn.length[:, None]
    repeat = functools.partial(jnp.repeat, repeats=decoding.responses, axis=0)
    sequences = Sequences(
        repeat(prompts.tokens), repeat(prompts.mask), drawn.response, written
    )
    return Rollout(sequences, drawn.logprob)


def prefill(model, prompts):
    """Reads prompts, some of them at a time.

    Args:
        model: the `SplitPolicy`.
        prompts: `Prompts`, those of this device.

    Returns:
        The `slots.Prefilled`, of all devices that share the heads.
    """
    count, width = prompts.tokens.shape
    size = prompts_at_a_time(count, width)

    def read(_, prompts):
        fed = model.all_rows(prompts)
        length = jnp.sum(fed.mask, axis=1, dtype=jnp.int32)
        # Their first token in the first column: a row of the cache grows to the right.
        column = jnp.arange(width)[None]
        source = (column + width - length[:, None]) % width
        tokens = jnp.take_along_axis(fed.tokens, source, axis=1)
        layout = layout_of_mask(column < length[:, None])
        hidden, (key, value) = model(tokens, layout)
        last = jnp.take_along_axis(hidden, (length - 1)[:, None, None], axis=1)
        return None, (key, value, length, last[:, 0])

    missing = -count % size
    filled = jax.tree.map(
        lambda x: jnp.pad(x, ((0, missing), (0, 0)), mode="edge"), prompts
    )
    pieces = jax.tree.map(lambda x: x.reshape(-1, size, width), filled)
    found = jax.lax.scan(read, None, pieces)[1]
    key, value, length, hidden = (
        _joined(each, axis, model.heads_shared, count)
        for each, axis in zip(found, (1, 1, 0, 0), strict=True)
    )
    return slots.Prefilled(cache_of_rows(key, value, length), hidden, count)


def prompts_at_a_time(count, width):
    """Returns how many of so many prompts a device reads at a time.

    Of equal pieces, in the fewest that fit; `prefill` fills up the last one.

    Args:
        count: P of this device.
        width: L.
    """
    fits = max(PREFILLED // width, 1)
    pieces = -(-count // fits)
    return -(-count // pieces)


def _joined(pieces, axis, devices, count):
    """Joins pieces, stacked along axis 0, each of rows of every device along `axis`.

    Returns the first `count` rows of each device together, in the order of the pieces.
    """
    x = jnp.moveaxis(pieces, 0, axis)
    before, behind = x.shape[:axis], x.shape[axis + 2 :]
    x = x.reshape(*before, x.shape[axis], devices, -1, *behind)
    x = x.swapaxes(axis, axis + 1).reshape(*before, devices, -1, *behind)
    x = jax.lax.slice_in_dim(x, 0, count, axis=axis + 1)
    return x.reshape(*before, -1, *behind)


@dataclasses.dataclass(frozen=True)
class SplitPolicy:
    """A policy of which each device holds a part, per device. `split_policy` makes one.

    Where devices share heads, they feed the rows of all of them, M times as many as
    each of the M devices has.
    """

    policy: Decoder  # of the heads held here
    unshard: Callable  # makes shards of one layer whole heads
    heads_shared: int  # M, devices along the axis `tensor`
    exchanged: tuple[str, ...]  # axes of the mesh that it is split over at each step

    def __call__(self, tokens, layout, cache=None):
        """Returns what the decoder does, keys and values among it.

        [M * B, S] int32 -> [M * B, S, D], and [depth, M * B, K / M, S, E] twice.
        """
        tensor = "tensor" if self.heads_shared > 1 else None
        return self.policy(
            tokens, layout, cache, keep=True, unshard=self.unshard, tensor=tensor
        )

    def all_rows(self, tree):
        """Returns the rows of all devices that share heads. [B, ...] -> [M * B, ...]"""
        if self.heads_shared == 1:
            return tree
        gather = lambda rows: jax.lax.all_gather(rows, "tensor", tiled=True)
        return jax.tree.map(gather, tree)

    def own_logits(self, hidden):
        """Returns the scores of all tokens, of own rows. [M * B, D] -> [B, V]."""
        policy, devices = self.policy, self.heads_shared
        if devices == 1:
            return policy.logits(hidden)
        if len(policy.head_matrix()) < policy.config.vocabulary:
            return jax.lax.all_to_all(policy.logits(hidden), "tensor", 0, 1, tiled=True)
        rows = len(hidden) // devices
        first = jax.lax.axis_index("tensor") * rows
        return policy.logits(jax.lax.dynamic_slice_in_dim(hidden, first, rows))

    def everyones(self, index, count):
        """Returns where rows of all devices that share heads lie. [B] -> [M * B].

        Args:
            index: [B] int32, where those of this device lie among `count` of its own.
            count: as many as each device has.
        """
        first = count * jnp.arange(self.heads_shared, dtype=jnp.int32)
        return self.all_rows(index) + jnp.repeat(first, len(index))

    def most(self, number):
        """Returns the largest of a number on all devices that are exchanged with.

        They must leave a loop together: who could go waits for the others.
        """
        number = _most_of_runs(number)
        if not self.exchanged:
            return number
        return distributed.pcast_varying(jax.lax.pmax(number, self.exchanged))


@jax.custom_batching.custom_vmap
def _most_of_runs(number):
    """Returns a number; under `jax.vmap` over policies, the largest of theirs.

    They leave a loop together, too. Else each step of it would copy the cache, to keep
    that of a policy that is done.
    """
    return number


@_most_of_runs.def_vmap
def _(size, is_mapped, number):
    return jnp.max(number), False


def split_policy(policy, specs, decoding, mesh):
    """Returns the `SplitPolicy` of what `sample_with_keys` gives a device.

    Args:
        policy: a `Decoder` of shards, as `weights.sampling_specs` says.
        specs: of `models.sharding.param_specs`.
        decoding: the `SamplingParams` settings.
        mesh: the mesh.
    """
    shared = ("fsdp", "tensor") if decoding.gather == "layer" else ("tensor",)
    exchanged = tuple(axis for axis in shared if mesh.shape[axis] > 1)
    policy, unshard = distributed.pcast_varying(policy), lambda block: block
    if "fsdp" in exchanged:
        stem, layer = sharding.stem_specs(specs), sharding.layer_specs(specs)
        gather = functools.partial(distributed.all_gather_params, axes=("fsdp",))
        policy = gather(policy, stem)
        unshard = lambda block: gather(block, layer)
    return SplitPolicy(policy, unshard, mesh.shape["tensor"], exchanged)
