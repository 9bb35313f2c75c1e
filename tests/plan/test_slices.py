"""Names of slices, and the doors to compilers that may not be installed."""

import importlib.util
import math

import pytest

from maspo_jax.plan import devices


@pytest.mark.parametrize(
    "name, chips, count, gib",
    [
        ("v5p:4x4x4", 64, 64, 95),
        ("v5e:4x4", 16, 16, 16),
        ("v6e:8x8", 64, 64, 32),
        ("tpu7x:2x2x1", 4, 8, 96),
        ("h100x8", 8, 8, 79.6),
        ("h100x16", 16, 16, 79.6),
    ],
)
def test_a_name_says_chips_devices_and_memory(name, chips, count, gib):
    slice_ = devices.parse_slice(name)
    assert (slice_.name, slice_.chips, slice_.devices) == (name, chips, count)
    assert slice_.hbm == gib * 2**30
    assert slice_.devices % slice_.hosts == 0


@pytest.mark.parametrize(
    "name, reason",
    [
        ("v5x:2x2", "no chip 'v5x'; the closest is v5p; there are v5e, v5p, v6e"),
        ("a100x8", "no chip 'a100'"),
        ("", "no chip ''"),
        (
            "v5p:4x4",
            "give 3 numbers from 1 on, with an x between them, as in v5p:4x4x4",
        ),
        ("v5p:0x1x1", "as in v5p:4x4x4"),
        ("v5p:4x4x", "as in v5p:4x4x4"),
        ("v5p:04x4x4", "as in v5p:4x4x4"),
        ("v5px8", "no chip"),
        ("v5e", "as in v5e:4x4"),
        ("h100:8", "as in h100x8"),
        ("h100x0", "as in h100x8"),
        ("h100x12", "8 to a machine"),
    ],
)
def test_other_names_are_refused_with_those_there_are(name, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        devices.parse_slice(name)
    assert str(refused.value).startswith(f"--devices {name}: ")


def test_the_parts_of_a_chip_are_shares_of_it():
    whole, half = map(devices.parse_slice, ("v5p:2x2x1", "tpu7x:2x2x1"))
    assert whole.flops("bfloat16") == 459e12 and whole.bandwidth == 2765e9
    assert half.flops("bfloat16") == 2307e12 / 2 and half.bandwidth == 7380e9 / 2
    assert whole.link == 300e9 and half.link == 600e9 / 2


def test_float32_has_a_rate_of_its_own():
    # Six passes of bfloat16 on TPUs; the units of float32 on a GPU.
    tpu, gpu = map(devices.parse_slice, ("v5e:2x2", "h100x8"))
    assert tpu.flops("float32") == pytest.approx(197e12 / 6)
    assert gpu.flops("float32") == 67e12 and gpu.flops("bfloat16") == 989e12


@pytest.mark.parametrize(
    "name, hosts",
    [
        ("v5e:2x2", 1),
        ("v5e:4x4", 4),
        ("v5p:2x2x4", 4),
        ("tpu7x:2x2x2", 2),
        ("h100x3", 1),
        ("h100x8", 1),
        ("h100x16", 2),
    ],
)
def test_a_slice_has_a_process_for_each_machine(name, hosts):
    assert devices.parse_slice(name).hosts == hosts


@pytest.mark.parametrize(
    "name", ["v5e:1x1", "v5e:3x4", "v5e:2x3", "v5p:1x2x2", "v5e:32x32", "v5p:20x20x20"]
)
def test_slices_that_nobody_has_are_refused_without_a_compiler(name):
    with pytest.raises(ValueError, match="there is no such slice: a machine has 2 x 2"):
        devices.parse_slice(name)


def test_a_name_in_capitals_has_the_chip_as_a_hint():
    with pytest.raises(ValueError, match="the closest is v5e"):
        devices.parse_slice("V5E:4x4")


def test_every_chip_says_where_its_figures_stand():
    for name, chip in devices.CHIPS.items():
        assert chip.name == name and chip.source.startswith("https://")
        assert any(each.startswith(name) for each in devices.EXAMPLES.split(", "))


@pytest.mark.parametrize(
    "name, package, remedy",
    [
        ("v5e:4x4", "libtpu", r"pip install -e '\.\[plan\]'"),
        ("h100x8", "jax_cuda12_plugin", r"jax\[cuda12\]"),
    ],
)
def test_a_compiler_that_is_not_installed_is_named(monkeypatch, name, package, remedy):
    found = importlib.util.find_spec
    absent = lambda name, *_: None if name == package else found(name, *_)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(devices.NoCompiler, match=remedy):
        devices.compile_only(devices.parse_slice(name))


def test_a_jax_without_the_private_door_is_no_crash(monkeypatch):
    from jax._src.lib import xla_client

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: True)
    monkeypatch.setattr(xla_client, "_xla", object())
    with pytest.raises(devices.NoCompiler, match="this version of jax describes no"):
        devices.compile_only(devices.parse_slice("h100x8"))


@pytest.mark.parametrize(
    "name, topology",
    [("h100x8", "1x1x8"), ("h100x16", "1x2x8"), ("h100x3", "1x1x3")],
)
def test_gpus_are_described_by_their_machines(monkeypatch, name, topology):
    from jax._src.lib import xla_client

    class Private:
        """What the private door of jax offers."""

        pjrt_plugin_loaded = pjrt_plugin_initialized = lambda self, _: True

        def get_default_c_api_topology(self, platform, chip, options):
            assert (platform, chip) == ("cuda", "h100")
            assert "H100" in options["target_config"]
            self.topology = options["topology"]
            return self

        def _make_compile_only_devices(self):
            return range(math.prod(map(int, self.topology.split("x"))))

    private = Private()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: True)
    monkeypatch.setattr(xla_client, "_xla", private)
    found = devices.compile_only(devices.parse_slice(name))
    assert private.topology == topology and len(found) == int(name[5:])


def test_a_slice_that_the_compiler_counts_otherwise_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "_tpus", lambda slice_: [object()] * 4)
    with pytest.raises(ValueError, match="has 4 devices there, not 16"):
        devices.compile_only(devices.parse_slice("v5e:4x4"))
