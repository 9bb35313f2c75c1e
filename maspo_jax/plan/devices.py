"""Slices of chips by name, and the compilers of chips that are not here.

    v5p:4x4x4 --parse_slice--> Slice --compile_only--> devices to compile for

Nothing can be placed on such devices, and nothing runs there; but `jax.jit(f).lower(
shapes on a mesh of them).compile()` is what the same compiler makes for the machine.
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import logging
import math
import os
import re

GIB = 2**30


class NoCompiler(Exception):
    """The compiler of a chip is not installed here, or this jax does not offer it."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a chip can do at best, as its maker says.

    Attributes:
        name: in the name of a slice.
        hbm: GiB of memory a chip.
        bandwidth: of that memory, GB/s.
        tflops: TFLOP/s of bfloat16 products, dense.
        link: GB/s that a chip receives from the others of its slice: half of what its
            links are said to move both ways.
        source: where that is said.
        axes: numbers in the name of a slice; 0: a count behind the name.
        most: chips of the largest slice; 0: as many as there are machines.
        devices: of JAX, that a chip is; they share its memory in equal parts.
        float32: TFLOP/s of float32 products at the highest precision; 0: those of
            six passes of bfloat16.
    """

    name: str
    hbm: float
    bandwidth: float
    tflops: float
    link: float
    source: str
    axes: int
    most: int = 0
    devices: int = 1
    float32: float = 0

    @property
    def platform(self):
        """As JAX calls its backend."""
        return "tpu" if self.axes else "gpu"

    @property
    def host(self):
        """Chips of a machine."""
        return 4 if self.axes else 8

    def tflops_of(self, dtype):
        """Returns TFLOP/s of products of a dtype."""
        return (
            self.tflops if dtype == "bfloat16" else self.float32 or self.tflops / PASSES
        )


_TPU = "https://cloud.google.com/tpu/docs"
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 16, 819, 197, 100, f"{_TPU}/v5e", 2, 256),
        Chip("v5p", 95, 2765, 459, 300, f"{_TPU}/v5p", 3, 6144),
        Chip("v6e", 32, 1638, 918, 224, f"{_TPU}/v6e", 2, 256),
        Chip("tpu7x", 192, 7380, 2307, 600, f"{_TPU}/tpu7x", 3, 9216, devices=2),
        # 80 GB, of which the driver shows 79.6 GiB; float32 without tensor cores.
        Chip("h100", 79.6, 3352, 989, 450, "https://www.nvidia.com/en-us/data-center/"
             "h100 (SXM)", 0, float32=67),
    )
}  # fmt: skip
PASSES = 6  # of bfloat16, for a float32 product at the highest precision
EXAMPLES = "v5p:4x4x4, v6e:8x8, v5e:4x4, tpu7x:2x2x1, h100x8"
# What libtpu asks of the machine, and would ask a metadata server for minutes; and that
# no TPU is taken, so that others may compile at the same time.
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}
FRACTION = (
    "JAX takes 75% of the memory of a GPU unless told otherwise: train with "
    "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95"
)
# What XLA would ask of a GPU: figures of the H100 SXM.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 85470000000
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips of one kind that work together."""

    name: str  # as the command line has it
    chip: Chip
    chips: int

    @property
    def devices(self):
        """How many devices JAX sees there."""
        return self.chips * self.chip.devices

    @property
    def hosts(self):
        """Machines, each with a process of JAX."""
        return max(self.chips // self.chip.host, 1)

    @property
    def hbm(self):
        """Bytes of memory a device."""
        return self.chip.hbm * GIB / self.chip.devices

    @property
    def bandwidth(self):
        """Bytes a second between a device and its memory."""
        return self.chip.bandwidth * 1e9 / self.chip.devices

    def flops(self, dtype):
        """Returns operations a second of a device.

        Args:
            dtype: of products; those of float32 are at the highest precision.
        """
        return self.chip.tflops_of(dtype) * 1e12 / self.chip.devices

    @property
    def link(self):
        """Bytes a second that a device receives from others."""
        return self.chip.link * 1e9 / self.chip.devices


def parse_slice(name):
    """Returns the `Slice` of a name such as v5p:4x4x4 or h100x8.

    Raises:
        ValueError: there is no such chip, or its slices are not named so.
    """
    kind, colon, shape = name.partition(":")
    counted = None if colon else re.fullmatch(r"([a-z]+\d+)x(\d+)", name)
    if counted:
        kind, shape = counted.groups()
    chip = CHIPS.get(kind)
    if chip is None:
        close = difflib.get_close_matches(kind.lower(), CHIPS, n=1)
        hint = f"; the closest is {close[0]}" if close else ""
        raise ValueError(
            f"--devices {name}: no chip {kind!r}{hint}; there are {', '.join(CHIPS)}, "
            f"as in {EXAMPLES}"
        )
    sizes = [int(size) for size in shape.split("x") if size.isdecimal()]
    wanted = max(chip.axes, 1)
    fits = "x".join(map(str, sizes)) == shape and len(sizes) == wanted and all(sizes)
    if not fits or bool(colon) != bool(chip.axes):
        example = next(each for each in EXAMPLES.split(", ") if each.startswith(kind))
        wrong = f"{wanted} numbers from 1 on, with an x between them,"
        wrong = wrong if chip.axes else "how many there are, at least 1,"
        raise ValueError(f"--devices {name}: give {wrong} as in {example}")
    count = math.prod(sizes)
    if chip.axes and (sizes[0] % 2 or sizes[1] % 2 or count > chip.most):
        raise ValueError(
            f"--devices {name}: there is no such slice: a machine has 2 x 2 chips, so "
            f"the first two numbers are even, and {kind} has at most {chip.most} chips"
        )
    if not chip.axes and count > chip.host and count % chip.host:
        raise ValueError(
            f"--devices {name}: {chip.host} to a machine; give at most that many, or a "
            "multiple"
        )
    return Slice(name, chip, count)


def compile_only(slice_):
    """Returns the devices of a slice, to compile for, as a list.

    Args:
        slice_: the `Slice`.

    Raises:
        NoCompiler: the compiler is not installed, or this jax has no door to it.
        ValueError: there is no slice of that shape.
    """
    make = _tpus if slice_.chip.platform == "tpu" else _gpus
    found = make(slice_)
    if len(found) != slice_.devices:
        raise ValueError(
            f"--devices {slice_.name}: the compiler has {len(found)} devices there, "
            f"not {slice_.devices}"
        )
    return found


def _tpus(slice_):
    if importlib.util.find_spec("libtpu") is None:
        raise NoCompiler(
            "the compiler for TPUs is not installed; pip install -e '.[plan]', in a "
            "clone, brings it (libtpu, no TPU is needed)"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=slice_.name
        )
    except Exception as error:  # of the plugin: its types are no part of jax
        reason = str(error).partition("\n")[0]
        if "INVALID_ARGUMENT" in reason or "NOT_FOUND" in reason:
            raise ValueError(
                f"--devices {slice_.name}: the compiler knows no such slice ({reason})"
            ) from error
        raise NoCompiler(f"libtpu describes no {slice_.name}: {reason}") from error
    return list(described.devices)


def _gpus(slice_):
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        raise NoCompiler(
            "the compiler for GPUs is not installed; pip install 'jax[cuda12]' "
            "brings it (no GPU is needed)"
        )
    topology = f"1x{slice_.hosts}x{slice_.chips // slice_.hosts}"
    try:  # private functions of jax 0.10: there are no public ones for GPUs
        from jax._src import xla_bridge
        from jax._src.lib import xla_client

        private = xla_client._xla
        if not private.pjrt_plugin_loaded("cuda"):
            with _quiet("jax._src.xla_bridge"):  # it finds the plugin by two ways
                xla_bridge.discover_pjrt_plugins()
        if not private.pjrt_plugin_initialized("cuda"):
            xla_client.initialize_pjrt_plugin("cuda")
        described = private.get_default_c_api_topology(
            "cuda", slice_.chip.name, {"target_config": H100, "topology": topology}
        )
        return list(described._make_compile_only_devices())
    except Exception as error:  # whatever another version of jax does instead
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise NoCompiler(
            f"this version of jax describes no {slice_.name} ({reason})"
        ) from error


@contextlib.contextmanager
def _quiet(name):
    """Lets a logger say nothing."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
