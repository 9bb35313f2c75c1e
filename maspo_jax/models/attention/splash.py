"""Attention on TPUs by the splash kernel of JAX: scores never leave the chip.

The kernel takes one row and the query heads that share a key head; rows and key heads
are mapped over, so keys are not repeated. It computes blocks above the diagonal not at
all, and tells texts of a row apart by their segments.
"""

import functools
import math

import jax
import jax.numpy as jnp

from maspo_jax.models.precision import precision_of
from maspo_jax.models.remat import ATTENTION

BLOCK = 512  # tokens of a block of queries or keys
LANES = 128  # of a vector register: what blocks and heads are multiples of


def splash(query, key, value, layout, block=BLOCK, interpret=False):
    """Does what `reference` does, on a TPU.

    Args:
        query: [B, S, H, E].
        key: [B, K, S, E], each head shared by H / K query heads.
        value: [B, K, S, E].
        layout: the `RowLayout`.
        block: tokens of a block, a multiple of 128; S need not be one of it.
        interpret: computes the kernel step by step on any backend, for tests.

    Returns:
        [B, S, H, E]; zero at a position that sees nothing, such as padding.
    """
    rows, steps, heads, width = query.shape
    groups = key.shape[1]
    block = min(block, _round_up(steps))
    length, padded = _round_up(steps, block), _round_up(width)

    def fill(x):
        """Zeros behind the last token and behind each head."""
        sides = ((0, 0),) * (x.ndim - 2)
        return jnp.pad(x, (*sides, (0, length - steps), (0, padded - width)))

    # What fills the last block is padding: segment 0. It sees itself, as any padding
    # does, so that no softmax is empty.
    segments = jnp.pad(layout.segments, ((0, 0), (0, length - steps)))
    query = (query.astype(jnp.float32) / math.sqrt(width)).astype(query.dtype)
    query = query.reshape(rows, steps, groups, heads // groups, width)
    query = query.transpose(0, 2, 3, 1, 4)  # [B, K, G, S, E]
    arrays = _vary_alike(fill(query), fill(key), fill(value), segments)
    mixed = _attend(*arrays, block, interpret)
    mixed = mixed[..., :steps, :width].transpose(0, 3, 1, 2, 4)
    mixed = mixed.reshape(rows, steps, heads, width)
    return jnp.where((layout.segments > 0)[:, :, None, None], mixed, 0)


def _round_up(size, multiple=LANES):
    return -(-size // multiple) * multiple


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(query, key, value, segments, block, interpret):
    return _forward(query, key, value, segments, block, interpret)[0]


def _forward(query, key, value, segments, block, interpret):
    def forward(query, key, value, segments):
        attend = _kernel(segments, query.shape[2], block, interpret)
        return jax.vjp(attend, query, key, value)

    return _unchecked(forward, query.dtype, query, key, value, segments)


def _backward(block, interpret, back, cotangent):
    pull = lambda back, cotangent: back(cotangent)
    return *_unchecked(pull, cotangent.dtype, back, cotangent), None


_attend.defvjp(_forward, _backward)


def _kernel(segments, shared, block, interpret):
    """Returns attention of [B, K, G, S, E], [B, K, S, E], [B, K, S, E]."""
    # Half a second, which only who uses it shall spend.
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    steps = segments.shape[-1]
    names = "q kv q_dkv kv_dkv q_dq kv_dq".split()
    attend = kernels.make_splash_mqa_single_device(
        kernels.MultiHeadMask([kernels.CausalMask((steps, steps))] * shared),
        block_sizes=kernels.BlockSizes(**{f"block_{name}": block for name in names}),
        residual_checkpoint_name=ATTENTION,
        interpret=interpret,
    )

    def one_row(query, key, value, segments):
        ids = kernels.SegmentIds(segments, segments)
        return jax.vmap(functools.partial(attend, segment_ids=ids))(query, key, value)

    return lambda query, key, value: jax.vmap(one_row)(query, key, value, segments)


def _unchecked(f, dtype, *args):
    """Calls a function of the kernel, also where varying axes are checked.

    The kernel does not say over which axes of a mesh its results vary, so inside of
    `jax.shard_map` it is only accepted without that check. Each device computes on
    what it holds, forward and backward, so results vary as the arguments do.
    """
    with jax.default_matmul_precision(precision_of(dtype).name.lower()):
        if not jax.sharding.get_abstract_mesh().manual_axes:
            return f(*args)
        # The arrays inside must not claim to vary: only results of operations do not.
        forget = lambda x: jnp.squeeze(jnp.expand_dims(x, 0), 0)
        results = jax.shard_map(
            lambda *args: f(*jax.tree.map(forget, args)),
            in_specs=jax.P(),
            out_specs=jax.P(),
            check_vma=False,
        )(*args)
    *_, results = _vary_alike(*jax.tree.leaves(args), results)
    return results


def _vary_alike(*trees):
    """Marks arrays as differing along every axis of a mesh along which one does."""
    axes = frozenset().union(*map(_varying, jax.tree.leaves(trees)))

    def vary(x):
        missing = tuple(axes - _varying(x))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(vary, trees)


def _varying(x):
    return jax.typeof(x).manual_axis_type.varying
