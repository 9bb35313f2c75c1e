"""The sampler: prompts in, responses out, in one compiled program.

Prompts are read once, whatever the number of responses to each. Then one token
per row and step is drawn until every row has ended.

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
from flax import struct

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.attention import (
    first_columns,
    layout_of_decoding,
    layout_of_mask,
)
from maspo_jax.models.cache import Cache, empty_cache
from maspo_jax.models.decoder import Decoder
from maspo_jax.rollout.sample_token import sample_token
from maspo_jax.rollout.weights import cast_for_sampling, sampling_specs
from maspo_jax.settings import check_intervals, setting
from maspo_jax.types import Rollout, Sequences, rows_of


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

    def __post_init__(self):
        """Refuses settings that name no distribution."""
        check_intervals(self)
        if not self.eos_tokens:
            raise ValueError(
                "eos_tokens=(): give at least one token that ends a response"
            )
        if self.gather not in ("once", "layer"):
            raise ValueError(f"gather={self.gather!r}: choose once or layer")


@struct.dataclass
class DecodeState:
    """The state of the loop over steps."""

    step: jax.Array  # [] int32, tokens drawn per row
    # [] bool, whether a row goes on, of this device or of those it exchanges with
    alive: jax.Array
    kv_cache: Cache
    done: jax.Array  # [N] bool
    response: jax.Array  # [N, T] int32
    logprob: jax.Array  # [N, T] float32
    mask: jax.Array  # [N, T] bool


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
    model = split_policy(policy, specs, decoding, mesh)
    width = prompts.tokens.shape[1]
    repeat = functools.partial(jnp.repeat, repeats=decoding.responses, axis=0)
    rows = len(row_keys)

    fed = model.all_rows(prompts)
    hidden, cache = prefill(model, fed)
    cache = cache.repeat(decoding.responses).pad(width + decoding.length)
    start = first_columns(repeat(fed.mask))

    def draw(state, hidden):
        """Draws the token of this step from the hidden states before it."""
        t = state.step
        step_keys = jax.vmap(lambda row_key: jax.random.fold_in(row_key, t))(row_keys)
        token, logprob = sample_token(
            model.own_logits(hidden), step_keys, decoding.temperature, decoding.top_p
        )
        alive = ~state.done
        done = state.done | jnp.isin(token, jnp.array(decoding.eos_tokens))
        return state.replace(
            step=t + 1,
            alive=model.anywhere(~jnp.all(done)),
            done=done,
            response=state.response.at[:, t].set(jnp.where(alive, token, decoding.pad)),
            logprob=state.logprob.at[:, t].set(jnp.where(alive, logprob, 0)),
            mask=state.mask.at[:, t].set(alive),
        )

    def decode_step(state):
        """Feeds the last token and draws the next."""
        last = jax.lax.dynamic_slice_in_dim(state.response, state.step - 1, 1, axis=1)
        layout = layout_of_decoding(start, state.kv_cache.length)
        hidden, cache = model(model.all_rows(last), layout, state.kv_cache)
        return draw(state.replace(kv_cache=cache), hidden[:, 0])

    shape = rows, decoding.length
    state = DecodeState(
        step=jnp.zeros((), jnp.int32),
        alive=jnp.ones((), bool),
        kv_cache=cache,
        done=jnp.zeros(rows, bool),
        response=jnp.full(shape, decoding.pad, jnp.int32),
        logprob=jnp.zeros(shape),
        mask=jnp.zeros(shape, bool),
    )
    state = jax.lax.while_loop(
        lambda state: (state.step < decoding.length) & state.alive,
        decode_step,
        draw(distributed.pcast_varying(state), repeat(hidden)),
    )
    sequences = Sequences(
        repeat(prompts.tokens), repeat(prompts.mask), state.response, state.mask
    )
    return Rollout(sequences, state.logprob)


def prefill(model, prompts):
    """Feeds prompts to an empty cache of as many columns.

    Args:
        model: the `SplitPolicy`.
        prompts: `Prompts`, those of all devices that share the heads.

    Returns:
        The hidden state behind each prompt, [P, D], and the cache of this device.
    """
    config, tensor = model.policy.config, model.heads_shared
    cache = empty_cache(config, *prompts.tokens.shape, tensor=tensor)
    cache = distributed.pcast_varying(cache)
    hidden, cache = model(prompts.tokens, layout_of_mask(prompts.mask), cache)
    return hidden[:, -1], cache


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

    def __call__(self, tokens, layout, cache):
        """Returns what the decoder does. [M * B, S] int32 -> [M * B, S, D], cache."""
        tensor = "tensor" if self.heads_shared > 1 else None
        return self.policy(tokens, layout, cache, unshard=self.unshard, tensor=tensor)

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

    def anywhere(self, here):
        """Returns whether it holds on any device that is exchanged with. [] bool.

        They must leave the loop together: who goes on waits for the others.
        """
        if not self.exchanged:
            return here
        count = jax.lax.psum(here.astype(jnp.int32), self.exchanged)
        return distributed.pcast_varying(count > 0)


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
