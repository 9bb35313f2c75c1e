"""The loop of the sampler: a device draws a fixed number of rows at a time.

Each slot draws the tokens of a row, one a step. When the row ends, its slot goes to the
next row of the wave, whose prompt has been read already. When no row is left, the loop
goes on with a part of the slots as soon as that holds all that are busy.

No row depends on another, nor on the slot it is drawn in: its tokens follow from its
prompt and its key.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.distributed import pcast_varying
from maspo_jax.models.attention import layout_of_decoding
from maspo_jax.models.cache import Cache, empty_cache
from maspo_jax.rollout.sample_token import sample_token

LONG = 512  # tokens of a response; shorter ones are drawn with all slots to the end
FEWER = 2  # into so many parts the slots are divided
LEAST = 8  # rows a step


@struct.dataclass
class Prefilled:
    """Prompts that were read, of this device and of those it shares heads with."""

    cache: Cache  # of the P prompts of each
    hidden: jax.Array  # [M * P, D], behind the last token of each
    count: int = struct.field(pytree_node=False)  # P


@struct.dataclass
class Slots:
    """The state of the loop, of S slots. N rows of this device are drawn in all."""

    row: jax.Array  # [S] int32, the row of each slot; N: it is idle
    drawn: jax.Array  # [S] int32, tokens drawn of that row
    hidden: jax.Array  # [M * S, D], from which the next token is drawn
    cache: Cache  # of M * S rows
    given: jax.Array  # [] int32, rows that have got a slot
    busy: jax.Array  # [] int32, the most slots that are busy on any device in step
    response: jax.Array  # [N, T] int32
    logprob: jax.Array  # [N, T] float32
    length: jax.Array  # [N] int32, tokens of each response


def draw_rows(model, prompts, keys, decoding, slots):
    """Draws a response for every row, per device.

    Args:
        model: the `SplitPolicy`.
        prompts: the `Prefilled` prompts; row n asks prompt n // G of this device.
        keys: [N]; row n draws its token t with `keys[n]` folded with t.
        decoding: the `SamplingParams` settings.
        slots: S, rows drawn at a time.

    Returns:
        The `Slots` after the last step.
    """
    rows = len(keys)
    sizes = slot_counts(slots, decoding.length)
    step = functools.partial(
        advance, model=model, prompts=prompts, keys=keys, decoding=decoding
    )
    state = first_slots(model, prompts, rows, decoding, slots)
    for size, below in zip(sizes, (*sizes[1:], 0), strict=True):
        state = keep_busy(model, state, size) if size < len(state.row) else state
        more = lambda state, below=below: state.busy > below
        state = jax.lax.while_loop(more, step, state)
    return state


def slot_counts(slots, length):
    """Returns how many slots go on, one after another, when no row is left for them.

    Args:
        slots: S.
        length: T, of the longest response. Each count is a program more to compile.
    """
    counts = [slots]
    while length >= LONG and counts[-1] >= FEWER * LEAST:
        counts.append(counts[-1] // FEWER)
    return tuple(counts)


def first_slots(model, prompts, rows, decoding, slots):
    """Returns the `Slots` that the first rows have got."""
    everyones = slots * model.heads_shared
    columns = prompts.cache.value.shape[3] + decoding.length
    state = Slots(
        row=jnp.full(slots, rows, jnp.int32),
        drawn=jnp.zeros(slots, jnp.int32),
        hidden=jnp.zeros((everyones, prompts.hidden.shape[1]), prompts.hidden.dtype),
        cache=empty_cache(prompts.cache, everyones, columns),
        given=jnp.int32(0),
        busy=jnp.int32(slots),
        response=jnp.full((rows, decoding.length), decoding.pad, jnp.int32),
        logprob=jnp.zeros((rows, decoding.length)),
        length=jnp.zeros(rows, jnp.int32),
    )
    state, free = pcast_varying((state, jnp.ones(slots, bool)))
    return hand_on(state, free, model, prompts, decoding.responses)


def advance(state, model, prompts, keys, decoding):
    """Draws a token of every row that has a slot, feeds it, and hands slots on."""
    rows, row, drawn = len(keys), state.row, state.drawn
    own = keys[jnp.minimum(row, rows - 1)]
    token_keys = jax.vmap(jax.random.fold_in)(own, drawn)
    token, logprob = sample_token(
        model.own_logits(state.hidden),
        token_keys,
        decoding.temperature,
        decoding.top_p,
    )
    # Of an idle slot the row is N, and what would be written there is dropped.
    state = state.replace(
        response=state.response.at[row, drawn].set(token),
        logprob=state.logprob.at[row, drawn].set(logprob),
        length=state.length.at[row].set(drawn + 1),
    )
    last = jnp.isin(token, jnp.array(decoding.eos_tokens)) | (
        drawn + 1 == decoding.length
    )
    ended = (row < rows) & last
    goes_on = (row < rows) & ~last

    layout = layout_of_decoding(state.cache.length)
    hidden, columns = model(model.all_rows(token[:, None]), layout, state.cache)
    state = state.replace(
        hidden=hidden[:, 0],
        cache=state.cache.append(*columns, model.all_rows(goes_on)),
        drawn=jnp.where(goes_on, drawn + 1, 0),
    )
    if len(row) < rows:
        state = hand_on(state, ended, model, prompts, decoding.responses)
    else:
        state = state.replace(row=jnp.where(ended, rows, row))
    return state.replace(busy=model.most(jnp.sum(state.row < rows)))


def hand_on(state, free, model, prompts, responses):
    """Gives free slots to the next rows, as long as there are some.

    Args:
        state: the `Slots`.
        free: [S] bool.
        model: the `SplitPolicy`.
        prompts: the `Prefilled` prompts.
        responses: G.
    """
    rows = len(state.length)
    next_row = jnp.minimum(state.given + jnp.cumsum(free) - 1, rows)
    row = jnp.where(free, next_row, state.row)
    new = model.all_rows(free & (row < rows))
    asked = jnp.minimum(row, rows - 1) // responses
    asked = model.everyones(asked, prompts.count)
    order = jnp.argsort(~new, stable=True)

    def insert(index, held):
        cache, hidden = held
        slot = order[index]
        place = asked[slot]
        return (
            cache.insert(slot, prompts.cache, place),
            hidden.at[slot].set(prompts.hidden[place]),
        )

    held = state.cache, state.hidden
    cache, hidden = jax.lax.fori_loop(0, jnp.sum(new), insert, held)
    given = jnp.minimum(state.given + jnp.sum(free), rows)
    return state.replace(row=row, given=given, cache=cache, hidden=hidden)


def keep_busy(model, state, size):
    """Returns the `Slots` with so many of them, the busy ones first."""
    idle = state.row >= len(state.length)
    chosen = jnp.argsort(idle, stable=True)[:size]
    everyones = model.everyones(chosen, len(idle))
    return state.replace(
        row=state.row[chosen],
        drawn=state.drawn[chosen],
        hidden=state.hidden[everyones],
        cache=state.cache.keep(everyones),
    )
