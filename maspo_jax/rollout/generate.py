"""The sampler: prompts in, responses out, in one compiled program.

Prompts are read once, whatever the number of responses to each. Then one token
per row and step is drawn until every row has ended.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax import distributed
from maspo_jax.models.attention import (
    first_columns,
    layout_of_decoding,
    layout_of_mask,
)
from maspo_jax.models.cache import Cache, empty_cache
from maspo_jax.rollout.sample_token import sample_token
from maspo_jax.rollout.weights import cast_for_sampling
from maspo_jax.settings import check_intervals, setting
from maspo_jax.types import Rollout, Sequences, rows_of


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """What to draw for each prompt."""

    responses: int = setting(interval="[1, inf)")  # G
    # T, the longest response in tokens, its end included
    length: int = setting(interval="[1, inf)")
    eos_tokens: tuple[int, ...]  # the tokens that end a response
    pad: int  # the token that fills what follows
    temperature: float = setting(1.0, "[0, inf)")  # 0 is greedy
    top_p: float = setting(1.0, "(0, 1]")

    def __post_init__(self):
        """Refuses settings that name no distribution."""
        check_intervals(self)
        if not self.eos_tokens:
            raise ValueError(
                "eos_tokens=(): give at least one token that ends a response"
            )


@struct.dataclass
class DecodeState:
    """The state of the loop over steps."""

    step: jax.Array  # [] int32, tokens drawn per row
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
    policy = cast_for_sampling(policy)
    draw = functools.partial(generate_local, decoding=decoding)
    return jax.shard_map(
        draw,
        mesh=mesh,
        in_specs=(distributed.REPLICATED, distributed.BATCH, distributed.BATCH),
        out_specs=distributed.BATCH,
    )(policy, prompts, keys)


def generate_local(policy, prompts, row_keys, decoding):
    """Does the work of `sample_with_keys` for the rows of one device."""
    policy = distributed.pcast_varying(policy)
    count, width = prompts.tokens.shape
    rows = count * decoding.responses
    repeat = functools.partial(jnp.repeat, repeats=decoding.responses)

    hidden, cache = prefill(policy, prompts)
    cache = cache.repeat(decoding.responses).pad(width + decoding.length)
    prompt, prompt_mask = repeat(prompts.tokens, axis=0), repeat(prompts.mask, axis=0)
    start = first_columns(prompt_mask)

    def draw(state, hidden):
        """Draws the token of this step from the hidden state before it."""
        t = state.step
        step_keys = jax.vmap(lambda row_key: jax.random.fold_in(row_key, t))(row_keys)
        token, logprob = sample_token(
            policy.logits(hidden), step_keys, decoding.temperature, decoding.top_p
        )
        alive = ~state.done
        return state.replace(
            step=t + 1,
            done=state.done | jnp.isin(token, jnp.array(decoding.eos_tokens)),
            response=state.response.at[:, t].set(jnp.where(alive, token, decoding.pad)),
            logprob=state.logprob.at[:, t].set(jnp.where(alive, logprob, 0)),
            mask=state.mask.at[:, t].set(alive),
        )

    def decode_step(state):
        """Feeds the last token and draws the next."""
        last = jax.lax.dynamic_slice_in_dim(state.response, state.step - 1, 1, axis=1)
        layout = layout_of_decoding(start, state.kv_cache.length)
        hidden, cache = policy(last, layout, state.kv_cache)
        return draw(state.replace(kv_cache=cache), hidden[:, 0])

    shape = rows, decoding.length
    state = DecodeState(
        step=jnp.zeros((), jnp.int32),
        kv_cache=cache,
        done=jnp.zeros(rows, bool),
        response=jnp.full(shape, decoding.pad, jnp.int32),
        logprob=jnp.zeros(shape),
        mask=jnp.zeros(shape, bool),
    )
    state = jax.lax.while_loop(
        lambda state: (state.step < decoding.length) & ~jnp.all(state.done),
        decode_step,
        draw(distributed.pcast_varying(state), repeat(hidden, axis=0)),
    )
    sequences = Sequences(prompt, prompt_mask, state.response, state.mask)
    return Rollout(sequences, state.logprob)


def prefill(policy, prompts):
    """Feeds the prompts of one device to an empty cache of as many columns.

    Returns the hidden state behind each prompt, [P, D], and the cache.
    """
    cache = distributed.pcast_varying(empty_cache(policy.config, *prompts.tokens.shape))
    hidden, cache = policy(prompts.tokens, layout_of_mask(prompts.mask), cache)
    return hidden[:, -1], cache
