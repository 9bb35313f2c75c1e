"""Which response stands where in packed rows, and how many numbers of rows occur."""

import collections

import numpy as np
import pytest

from maspo_jax.learning import packing


def heavy_tailed(seed, count, longest, mean):
    """Lognormal lengths, the longest cut off, as responses of reasoning have them."""
    draw = np.random.default_rng(seed)
    lengths = draw.lognormal(np.log(mean * longest) - 0.5, 1.0, count)
    return np.clip(lengths.astype(int) + 1, 1, longest)


def plain_best_fit(lengths, row_length):
    """Returns {text: (row, first column)} by trying every row for every text."""
    used, found = [], {}
    for text in sorted(range(len(lengths)), key=lambda text: -lengths[text]):
        length = int(lengths[text])
        if not length:
            continue
        fitting = [row for row in range(len(used)) if used[row] + length <= row_length]
        if not fitting:
            used.append(0)
            fitting = [len(used) - 1]
        row = max(fitting, key=lambda row: (used[row], -row))
        found[text] = row, used[row]
        used[row] += length
    return found


@pytest.mark.parametrize("seed", range(6))
def test_best_fit_is_that_of_a_plain_search(seed):
    lengths = heavy_tailed(seed, 40, 20, 0.25)
    lengths[seed] = 0
    start, rows = packing.best_fit(lengths, 20)
    expected = plain_best_fit(lengths, 20)
    assert rows == 1 + max(row for row, _ in expected.values())
    for text, (row, column) in expected.items():
        assert start[text] == 20 * row + column


@pytest.mark.parametrize("devices, most", [(1, 100), (1, 9), (4, 5), (8, 2)])
def test_every_text_stands_whole_in_a_row_of_its_part_alone(devices, most):
    lengths = heavy_tailed(0, 64, 50, 0.2)
    lengths[:5] = 50, 50, 0, 0, 1
    plan = packing.plan(lengths, 50, devices, most)
    assert plan.rows <= most
    assert sorted(plan.order) == list(range(64))
    parts = np.split(np.arange(64), devices * plan.microbatches)
    for part in parts:
        taken = np.zeros(plan.rows * 50, int)
        for place in part:
            length, start = lengths[plan.order[place]], plan.start[place]
            taken[start : start + length] += 1
            if length:
                assert start // 50 == (start + length - 1) // 50
        assert taken.max() == 1
    assert packing.plan(lengths, 50, devices, most).order.tolist() == list(plan.order)


@pytest.mark.parametrize("parts", [1, 4, 16, 64])
def test_parts_have_as_many_texts_and_about_as_many_tokens(parts):
    lengths = heavy_tailed(1, 64, 1000, 0.2)
    dealt = packing.deal(lengths, parts)
    assert {len(part) for part in dealt} == {64 // parts}
    assert sorted(np.concatenate(dealt)) == list(range(64))
    tokens = [lengths[part].sum() for part in dealt]
    assert max(tokens) - min(tokens) <= max(lengths)


@pytest.mark.parametrize(
    "count, longest, mean, devices", [(512, 4096, 0.25, 8), (128, 8192, 0.2, 1)]
)
def test_padding_of_heavy_tailed_lengths_is_below_a_twentieth(
    count, longest, mean, devices
):
    """On average, of updates with more than a dozen rows a device."""
    shares, programs = [], collections.Counter()
    for seed in range(40):
        lengths = heavy_tailed(seed, count, longest, mean)
        plan = packing.plan(lengths, longest, devices, most=count // devices)
        shares.append(1 - lengths.sum() / (devices * plan.total * longest))
        programs[plan.microbatches, plan.rows] += 1
    padded = (
        1
        - np.mean([heavy_tailed(s, count, longest, mean).mean() for s in range(40)])
        / longest
    )
    assert np.mean(shares) < 0.05 < 0.7 < padded
    assert len(programs) <= 16


def test_there_are_few_numbers_of_rows():
    sizes = [packing.rounded(rows) for rows in range(1, 1025)]
    assert all(size >= rows for rows, size in enumerate(sizes, 1))
    assert all(size - rows <= rows / 16 for rows, size in enumerate(sizes, 1))
    assert len(set(sizes)) == 32 + 5 * 16
    assert packing.rounded(1024) == 1024 and packing.rounded(1025) == 1088


def test_as_few_microbatches_as_hold_the_rows():
    """Short texts are read in one, as long as the row in one each."""
    few = packing.plan(np.full(16, 3), 12, devices=1, most=4)
    assert (few.microbatches, few.rows) == (1, 4)
    long = packing.plan(np.full(16, 12), 12, devices=2, most=1)
    assert (long.microbatches, long.rows) == (8, 1)
    nothing = packing.plan(np.zeros(16, int), 12, devices=2, most=1)
    assert (nothing.microbatches, nothing.rows) == (1, 1)


def test_a_microbatch_holds_no_more_rows_than_it_may():
    """Though the next number of rows that is compiled is larger."""
    assert packing.rounded(33) == 34
    assert packing.plan(np.full(33, 10), 10, 1, 33).rows == 33


def test_a_text_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="row_length=12: a text of 13 tokens .* 13$"):
        packing.plan(np.array([1, 13]), 12, devices=1, most=2)


def test_microbatches_have_texts_of_like_length():
    lengths = heavy_tailed(2, 48, 100, 0.2)
    order = packing.sort_by_length(lengths, devices=2)
    assert sorted(order) == list(range(48))
    found = lengths[order].reshape(2, 4, 6)
    for one, next_one in zip(range(3), range(1, 4), strict=True):
        assert found[:, one].min() >= found[:, next_one].max()
