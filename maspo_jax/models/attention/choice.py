"""Which implementation of attention a call gets: chosen in one place, logged once."""

import concurrent.futures
import functools
import logging
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.models.attention.chunked import chunked
from maspo_jax.models.attention.cudnn import cudnn
from maspo_jax.models.attention.layout import RowLayout, layout_of_mask
from maspo_jax.models.attention.reference import reference
from maspo_jax.models.attention.splash import splash

AttentionName = Literal["auto", "reference", "chunked", "splash", "cudnn"]
IMPLEMENTATIONS = {
    "reference": reference,
    "chunked": chunked,
    "splash": splash,
    "cudnn": cudnn,
}
KERNELS = {"tpu": "splash", "gpu": "cudnn"}  # of the platforms that have one
LONG = 1024  # tokens of a row; longer ones are read in blocks
TOLERANCE = 0.05  # of a probe: bfloat16 is off by 0.01
logger = logging.getLogger(__name__)


def choose_attention(name, layout, dtype, width):
    """Returns the attention function for whole rows, and logs it once.

    By itself it takes the plain one for short rows; for long ones the kernel of the
    platform, if that can read them and has passed a probe, or else `chunked`.

    Args:
        name: "auto", or which of `IMPLEMENTATIONS` reads whole rows.
        layout: of the call, a `RowLayout`.
        dtype: of queries and keys.
        width: E, of a head.

    Raises:
        ValueError: what was asked for by name cannot be had.
    """
    length, dtype, platform = layout.segments.shape[-1], str(dtype), target_platform()
    if name == "auto":
        name = _automatic(layout, dtype, width, platform)
    else:
        check_attention(name, dtype, width, layout.packed)
    _log(name, length, dtype, platform)
    return IMPLEMENTATIONS[name]


def name_chosen(config, length, packed=False):
    """Returns the name of what reads rows here, of those that are chosen.

    Args:
        config: a `DecoderConfig`.
        length: tokens of a row.
        packed: whether rows may hold several texts.

    Raises:
        ValueError: what was asked for by name cannot be had.
    """
    rows = jax.ShapeDtypeStruct((1, length), jnp.int32)
    layout = RowLayout(rows, rows, packed)
    chosen = choose_attention(
        config.attention, layout, config.product_dtype, config.head_width
    )
    return next(name for name, each in IMPLEMENTATIONS.items() if each is chosen)


def check_attention(name, dtype, width, packed=False, platform=None):
    """Refuses what was asked for by name and cannot be had on a platform.

    Args:
        name: "auto", or one of `IMPLEMENTATIONS`.
        dtype: of queries and keys.
        width: E, of a head.
        packed: whether rows may hold several texts.
        platform: cpu, gpu or tpu; None for that of `target_platform`.

    Raises:
        ValueError: why, and what else there is.
    """
    reason = _misfit(name, platform or target_platform(), dtype, width, packed)
    if reason:
        raise ValueError(
            f"attention={name!r} {reason}; choose auto, reference or chunked"
        )


def reads_at_once(name, length):
    """Returns whether rows are read by `reference`, with all their scores at once.

    Args:
        name: "auto", or one of `IMPLEMENTATIONS`.
        length: tokens of a row.
    """
    return name == "reference" or (name == "auto" and length <= LONG)


def target_platform():
    """Returns what the program that is being traced will run on: cpu, gpu or tpu.

    That is the platform of the mesh of the enclosing `jax.shard_map`, whose devices
    need not be here, or else that of the default device.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def _misfit(name, platform, dtype, width, packed):
    """Returns why an implementation cannot be had on a platform, or None."""
    needed = {kernel: home for home, kernel in KERNELS.items()}.get(name, platform)
    if platform != needed:
        return f"needs a {needed.upper()}, and this is a program for {platform}"
    if name == "cudnn":
        if dtype != "bfloat16":
            return f"computes in bfloat16 only, and compute_dtype is {dtype}"
        if width % 8 or width > 256:
            return f"needs heads of a multiple of 8 up to 256, and head_width={width}"
        if packed:
            return "reads rows of one text only, and these are packed"
    return None


def _automatic(layout, dtype, width, platform):
    if reads_at_once("auto", layout.segments.shape[-1]):
        return "reference"
    kernel = KERNELS.get(platform)
    if kernel is None or _misfit(kernel, platform, dtype, width, layout.packed):
        return "chunked"
    return "chunked" if failure(kernel, platform, dtype, width) else kernel


@functools.cache
def failure(name, platform, dtype, width):
    """Returns why a kernel does not work, or None: it is tried once, and that logged.

    A kernel for devices that are not here cannot be run. That of TPUs is part of the
    program and its compiler will judge it; that of GPUs is asked of the GPU itself.
    """
    if platform != jax.default_backend():
        reason = None if name == "splash" else f"there is no {platform.upper()} here"
    else:
        # In a thread of its own, for here a program is being traced.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            reason = thread.submit(_try, IMPLEMENTATIONS[name], dtype, width).result()
    if reason:
        logger.warning("attention: %s cannot be used: %s", name, reason)
    return reason


def _try(attend, dtype, width):
    """Compiles and runs a small case, forward and backward, beside the reference."""
    keys = jax.random.split(jax.random.key(0), 4)
    wide, shared = (2, 160, 4, width), (2, 2, 160, width)
    shapes = wide, shared, shared, wide
    arrays = [
        jax.random.normal(key, shape).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    ]
    layout = layout_of_mask(jnp.arange(160)[None] >= jnp.array([[0], [30]]))

    @functools.partial(jax.jit, static_argnums=0)
    def run(attend, query, key, value, cotangent):
        attend = functools.partial(attend, layout=layout)
        mixed, back = jax.vjp(attend, query, key, value)
        return mixed, *back(cotangent)

    try:
        got = run(attend, *arrays)
        exact = run(reference, *(x.astype(jnp.float32) for x in arrays))
        for one, other in zip(got, exact, strict=True):
            error = np.linalg.norm(one.astype(jnp.float32) - other)
            error /= np.linalg.norm(other)
            if not error < TOLERANCE:  # nor NaN
                return f"its results are off by {error:.1%}"
    except Exception as error:  # whatever a driver, a library or a compiler says
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return None


@functools.cache
def _log(name, length, dtype, platform):
    logger.info(
        "attention: %s, for rows of %d tokens in %s on %s",
        name,
        length,
        dtype,
        platform,
    )
