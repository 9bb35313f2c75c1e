"""Pictures of runs."""

import json

import matplotlib.figure
import matplotlib.image
import pytest

from maspo_jax.cli import figures as command
from maspo_jax.reports.figures import style
from maspo_jax.reports.figures.training_curves import draw_learning_curves


@pytest.fixture
def run(tmp_path):
    """Writes the metrics of a run as the loop does."""

    def run(name, level):
        folder = tmp_path / name
        folder.mkdir()
        begun = {"accuracy": 0.1, "response_length/mean": 5}
        lines = [{"stage": "validation", "step": 0, **begun}]
        for step in range(1, 11):
            values = {"reward": level, "response_length/mean": 10 + step}
            values["out_of_band_last"] = 0.1
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
    (figure,) = drawn
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


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path} has no metrics.jsonl")
    assert not (tmp_path / "out").exists()
