"""Pictures of runs."""

import json

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from maspo_jax.cli import figures as command
from maspo_jax.reports.figures import style
from maspo_jax.reports.figures.training_curves import by_setting, draw_learning_curves


@pytest.fixture
def run(tmp_path):
    """Writes the metrics of a run as the loop does."""

    def run(name, level, tokens=None, **record):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        if record:
            record = {"class": "maspo_jax.config:Experiment", **record}
            (folder / "config.json").write_text(json.dumps(record))
        begun = {"accuracy": 0.1, "response_length/mean": 5}
        lines = [{"stage": "validation", "step": 0, **begun}]
        for step in range(1, 11):
            values = {"reward": level, "response_length/mean": 10 + step}
            values["out_of_band_last"] = 0.1
            if tokens is not None:
                values["uncertain_tokens_last"] = tokens(step)
            lines.append({"stage": "reinforcement", "step": step, **values})
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return folder

    return run


def pixels(path):
    return matplotlib.image.imread(path)


def test_runs_are_drawn_into_one_picture_that_shows_their_numbers(run, tmp_path):
    one, two = run("one", 0.3), run("two", 0.9)
    pictures = []
    for index, folders in enumerate(([one], [two], [one, two])):
        out = tmp_path / str(index)
        assert command.main([*map(str, folders), "--out", str(out)]) == 0
        pictures.append(pixels(out / "learning_curves.png"))
    assert pictures[0].shape == pictures[1].shape == pictures[2].shape
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (pictures[first] != pictures[second]).any()


@pytest.mark.parametrize("count", [1, 6, 12])
def test_the_legend_of_many_runs_stays_in_the_picture_in_their_order(
    run, monkeypatch, tmp_path, count
):
    drawn, save = [], matplotlib.figure.Figure.savefig

    def keep(figure, *arguments, **options):
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    names = [f"{n:02}_is_a_run_with_a_name_of_more_settings" for n in range(count)]
    draw_learning_curves([run(name, 0.5) for name in names], tmp_path / "p.png")
    (figure,) = {*drawn}
    (legend,) = figure.legends
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert figure.bbox.contains(*legend.get_window_extent().max)
    below = legend.get_window_extent().y1
    assert all(below < axes.get_window_extent().y0 for axes in figure.axes)
    extent = lambda text: text.get_window_extent()
    place = lambda text: (-round(extent(text).y0), extent(text).x0)
    texts = [text.get_text() for text in sorted(legend.get_texts(), key=place)]
    assert [text[:12] for text in texts] == [name[:12] for name in names]
    assert all(text.endswith("more_settings") for text in texts)
    assert len({axes.get_window_extent().height > 300 for axes in figure.axes}) == 1


def test_the_legend_shows_the_held_out_curve_of_each_run(run, monkeypatch):
    """Also of a run that has lines of one kind more than another."""
    drawn = []
    keep = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    draw_learning_curves([run("one", 0.5), run("two", 0.5)], "nowhere.png")
    (legend,) = drawn[0].legends
    assert [line.get_color() for line in legend.get_lines()] == [*style.COLORS[:2]]
    assert [line.get_marker() for line in legend.get_lines()] == ["o", "s"]
    for axes in drawn[0].axes:
        assert not axes.spines["top"].get_visible()
        assert axes.lines[0].get_linewidth() == style.SETTINGS["lines.linewidth"]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_curve_at_an_end_of_its_scale_is_seen_whole(run, monkeypatch, level):
    drawn = []
    keep = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    draw_learning_curves([run("one", level)], "nowhere.png")
    for axes in drawn[0].axes:
        low, high = axes.get_ylim()
        assert low < min(axes.dataLim.y0, 0) and axes.dataLim.y1 < high
        assert all(tick == int(tick) for tick in axes.get_xticks())


def drawing(monkeypatch, folders):
    """Returns the figure of some runs, which is not written."""
    drawn = []
    keep = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    draw_learning_curves(folders, "nowhere.png")
    return drawn[0]


def test_seeds_of_a_setting_are_a_mean_and_a_band(run, monkeypatch):
    folders = [
        run("maspo_seed_0", 0.2, seed=0, steps=10),
        run("other", 0.5, seed=0, steps=20),
        run("maspo_seed_1", 0.6, seed=1, steps=10),
        run("maspo_seed_2", 0.4, seed=2, steps=10),
    ]
    assert [setting.name for setting in by_setting(folders)] == [
        "maspo (3 seeds)",
        "other",
    ]
    figure = drawing(monkeypatch, folders)
    right, long, outside = figure.axes
    sampled = right.lines[0].get_ydata()
    np.testing.assert_allclose(sampled, 0.4)
    assert len(right.collections) == len(long.collections) == 1  # bands
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "maspo (3 seeds)",
        "other",
    ]
    about = legend.get_title().get_text()
    assert (
        about == "lines: mean of the seeds; bands: from the least to the most of them"
    )
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert not drawing(monkeypatch, folders[1:2]).legends[0].get_title().get_text()


def test_the_band_reaches_from_the_least_to_the_most(run, monkeypatch):
    folders = [run(f"seed_{n}", 0.5, seed=n) for n in range(3)]
    for number, folder in enumerate(folders):
        log = folder / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        lines[0]["accuracy"] = 0.2 + 0.1 * number
        log.write_text("\n".join(map(json.dumps, lines[: 11 - number])) + "\n")
    right, _, _ = drawing(monkeypatch, folders).axes
    sampled, held_out = right.lines
    assert sampled.get_xdata().tolist() == list(range(1, 9))  # which all have
    assert held_out.get_ydata() == pytest.approx([0.3])
    (band,) = right.collections
    (path,) = band.get_paths()
    assert {*np.round(path.vertices[:, 1], 6)} == {0.2, 0.4}


def test_runs_with_another_setting_or_none_known_stay_apart(run, caplog):
    folders = [run("a", 0.1), run("b", 0.1), run("c", 0.1, seed=0, steps=1)]
    folders.append(run("d", 0.1, seed=1, steps=2))
    assert [setting.name for setting in by_setting(folders)] == list("abcd")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and all(line.endswith("like no other") for line in said)
    assert str(folders[0]) in said[0] and str(folders[1]) in said[1]


def test_a_run_of_other_code_is_no_other_seed(run):
    one, other = {"ours:Gate": "sha256 0"}, {"ours:Gate": "sha256 1"}
    folders = [run(f"a_s{n}", 0.1, seed=n, code=one) for n in range(2)]
    folders.append(run("a_s2", 0.1, seed=2, code=other))
    assert [setting.name for setting in by_setting(folders)] == [
        "a_s (2 seeds)",
        "a_s2",
    ]


def test_runs_of_one_seed_are_no_two_seeds(run):
    folders = [run(f"a_{n}", 0.1, seed=n % 2) for n in range(3)]
    settings = by_setting(folders)
    members = [[folder.name for folder in setting.folders] for setting in settings]
    assert members == [["a_0", "a_1"], ["a_2"]]


@pytest.mark.parametrize("record", [{}, {"seed": 0}])
def test_a_folder_that_is_named_twice_is_one_run(run, tmp_path, capsys, record):
    folder = run("a", 0.1, **record)
    (tmp_path / "b").symlink_to(folder)
    inside = str(tmp_path / "a" / ".." / "a")
    for again in (str(folder), str(tmp_path / "b"), inside):
        (setting,) = by_setting([folder, again])
        assert (setting.name, setting.folders) == ("a", (folder,))
        assert command.found([str(folder), again]) == [str(folder)]
        said = f"warning: {again} is named already, as {folder}: drawn once\n"
        assert capsys.readouterr().out == said


def test_no_two_curves_have_one_name(run):
    both = [run("x/eval", 0.1), run("y/eval", 0.1), run("other", 0.1)]
    names = lambda folders: [setting.name for setting in by_setting(folders)]
    assert names(both) == ["x/eval", "y/eval", "other"]
    outer = [run(f"{name}/deep/eval", 0.1) for name in "uv"]
    assert names(outer) == ["u/deep/eval", "v/deep/eval"]
    long = [run(f"a_name_of_many_{n}_settings_and_more", 0.1) for n in range(2)]
    numbered = [
        f"{n}: a_name_of_many_\N{HORIZONTAL ELLIPSIS}ttings_and_more" for n in (1, 2)
    ]
    assert names(long) == numbered
    seeds = [
        run(f"{name}/s{n}", 0.1, seed=n, steps=len(name))
        for name in ("p", "qq")
        for n in range(2)
    ]
    assert names(seeds) == ["p/s (2 seeds)", "qq/s (2 seeds)"]


def test_the_share_of_few_tokens_is_marked(run, monkeypatch):
    figure = drawing(
        monkeypatch, [run("one", 0.5, tokens=lambda step: 200 - 20 * step)]
    )
    outside = figure.axes[2]
    solid, dotted = outside.lines
    assert np.isfinite(solid.get_ydata()).tolist() == [True] * 7 + [False] * 2
    assert np.isfinite(dotted.get_ydata()).tolist() == [False] * 6 + [True] * 3
    labels = [text.get_text() for text in outside.get_legend().get_texts()]
    assert labels == ["share of 20 to 180 tokens", "of fewer than 50: it jumps"]
    many = drawing(monkeypatch, [run("two", 0.5, tokens=lambda step: 1000 * step)])
    labels = [text.get_text() for text in many.axes[2].get_legend().get_texts()]
    assert labels == ["share of 1,000 to 9,000 tokens"]
    assert drawing(monkeypatch, [run("old", 0.5)]).axes[2].get_legend() is None


def test_a_share_is_of_few_if_it_is_so_in_any_of_the_seeds(run, monkeypatch):
    counts = {"s0": lambda step: 20, "s1": lambda step: 20 if step == 9 else 200}
    for names, marked in ((["s0", "s1"], 9), (["s1"], 1)):
        folders = [
            run(f"{len(names)}/{name}", 0.5, counts[name], seed=n)
            for n, name in enumerate(names)
        ]
        solid = drawing(monkeypatch, folders).axes[2].lines[0]
        assert np.isnan(solid.get_ydata()).sum() == marked


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_run_of_no_step_or_of_one_is_drawn(run, monkeypatch, lines):
    folder = run("short", 0.5, tokens=lambda step: 10)
    log = folder / "metrics.jsonl"
    log.write_text("\n".join([*log.read_text().splitlines()[:lines], ""]))
    solid, dotted = drawing(monkeypatch, [folder]).axes[2].lines
    assert len(solid.get_xdata()) == len(dotted.get_xdata()) == lines - 1


def test_an_svg_is_written_beside_the_picture(run, tmp_path):
    draw_learning_curves([run("one", 0.5)], tmp_path / "curves.png")
    assert "<svg" in (tmp_path / "curves.svg").read_text()[:500]


def test_a_folder_of_runs_stands_for_them(run, tmp_path, capsys):
    runs = [run(name, 0.5) for name in ("one", "two")]
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert f"{tmp_path}: 2 runs" in capsys.readouterr().out
    assert command.found([str(tmp_path)]) == [str(folder) for folder in runs]


def test_all_folders_that_are_no_runs_are_named(run, tmp_path, capsys):
    run("arithmetic", 0.5)
    names = [str(tmp_path / name) for name in ("arithmetc", "arithmetic", "none")]
    assert command.main([*names, "--out", str(tmp_path / "out")]) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "error: 2 things are wrong:"
    assert lines[0].endswith(f"the closest is {names[1]}") and names[2] in lines[1]
    assert "--out" not in "".join(lines)


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path} has no metrics.jsonl")
    assert not (tmp_path / "out").exists()


def test_a_run_that_has_measured_nothing_is_refused(run, tmp_path, capsys):
    empty = run("empty", 0.5)
    (empty / "metrics.jsonl").write_text("")
    words = [str(run("full", 0.5)), str(empty), "--out", str(tmp_path / "out")]
    assert command.main(words) == 2
    assert f"{empty}/metrics.jsonl is empty" in capsys.readouterr().err
