import itertools

import numpy as np
import pytest
from matplotlib import image
from support.members import GATES

from maspo_jax.cli import figures as command
from maspo_jax.objectives import gates
from maspo_jax.reports.figures import tables
from maspo_jax.reports.figures.methods import METHODS, gate_on, synthetic_batch

FIGURES = (
    *("maspo", "dgpo", "weights", "relative_weights", "maspo_maps"),
    *("dac_bounds", "bapo_search", "utilization"),
)
# The table of the DGPO paper. Left and right: explores, converges, continuous.
# Then: biased inside; the pace of lagging updates, reverse left and right.
PAPER = {
    "GRPO": ("no yes no", "no yes no", False, "unbiased", "unbiased"),
    "CISPO": ("yes no yes", "yes yes yes", False, "large", "small"),
    "GPPO": ("yes no yes", "yes yes yes", False, "unbiased", "unbiased"),
    "CE-GPPO": ("yes no no", "yes yes yes", False, "unbiased", "unbiased"),
    "ASPO": ("no yes no", "no yes no", True, "large", "small"),
    "DGPO": ("yes yes yes", "yes yes yes", False, "unbiased", "unbiased"),
}
# What it says of the bias beyond the bounds.
BIAS = {
    "left": {
        "small": ("CISPO", "GPPO", "DGPO"),
        "moderate": ("CE-GPPO",),
        "large": ("GRPO", "ASPO"),
    },
    "right": {
        "small": ("DGPO",),
        "moderate": ("CISPO", "GPPO", "CE-GPPO"),
        "large": ("GRPO", "ASPO"),
    },
}


@pytest.mark.parametrize("name", PAPER)
def test_computed_properties_are_those_the_paper_states(name):
    left, right, biased, *paces = PAPER[name]
    found = tables.properties(METHODS[name][0])
    for side, expected in ((found.left, left), (found.right, right)):
        answers = [side.explores, side.converges, side.continuous]
        assert answers == [word == "yes" for word in expected.split()]
    assert (found.bias_inside > 1e-6) == biased
    for weight, pace in zip(
        (found.reverse_left, found.reverse_right), paces, strict=True
    ):
        assert tables._pace(weight).startswith(pace)


@pytest.mark.parametrize("side", BIAS)
def test_biases_are_ordered_as_the_paper_says(side):
    """Methods it calls less biased are, each of them, by a third at least."""
    bias = lambda name: getattr(tables.properties(METHODS[name][0]), side).bias
    found = [[bias(name) for name in names] for names in BIAS[side].values()]
    for less, more in itertools.pairwise(found):
        assert max(less) < 0.75 * min(more)


# Methods that are in no table of the paper, by their equations.
OTHERS = {
    "Plain IS": ("yes yes yes", "yes yes yes"),
    "REINFORCE": ("yes no yes", "yes yes yes"),
    **dict.fromkeys(
        ("Clip-Higher", "DAC", "BAPO", "BAPO, as in the paper", "DPPO", "GSPO", "GMPO"),
        ("no yes no", "no yes no"),
    ),
    **dict.fromkeys(
        ("SAPO", "Unilateral SAPO", "MASPO", "Bilateral MASPO"),
        ("yes yes yes", "yes yes yes"),
    ),
}


def test_every_row_is_expected():
    assert PAPER.keys() | OTHERS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_computed_properties_of_the_others(name):
    found = tables.properties(METHODS[name][0])
    for side, expected in zip((found.left, found.right), OTHERS[name], strict=True):
        answers = [side.explores, side.converges, side.continuous]
        assert answers == [word == "yes" for word in expected.split()]
        assert (side.bias == 1) == (not side.explores)


def test_bounds_of_a_batch_are_searched_for():
    for kind in (gates.Bapo, gates.PaperBapo):
        fitted = kind().fit(*synthetic_batch(), total=lambda number: number)
        assert fitted.upper > 1.3


def test_maspo_leaves_the_reverse_sides_alone_and_sapo_does_not():
    ours, other = (tables.properties(METHODS[name][0]) for name in ("MASPO", "SAPO"))
    assert ours.left.continuous and ours.right.converges
    assert ours.reverse_left == ours.reverse_right == 1
    assert other.reverse_left < 1 and other.reverse_right < 1


def test_every_gate_is_drawn():
    drawn = {type(gate) for gate, _, _ in METHODS.values()}
    assert drawn == {type(gate) for gate in GATES}


def test_a_grid_of_tokens_is_a_grid_of_single_tokens():
    ratio = np.array([0.5, 1.0, 2.0])
    value = gate_on(gates.Gspo(0.2, 0.2), ratio, 1.0, 0.1)
    np.testing.assert_array_equal(value, [1, 1, 0])


def test_the_command_draws_every_figure_and_the_table(tmp_path, capsys):
    assert command.main(["gates", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in FIGURES:
        assert f"{name}.png" in printed
        picture = image.imread(tmp_path / f"{name}.png")
        assert picture.std() > 0.05  # not blank
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()[:500]
    table = (tmp_path / "gate_properties.md").read_text()
    assert table in printed
    assert all(f"\n| {name:21} |" in table for name in METHODS)
