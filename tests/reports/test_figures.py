"""Pictures of runs."""

import json

import matplotlib.image
import pytest

from maspo_jax.cli import figures as command


@pytest.fixture
def run(tmp_path):
    """Writes the metrics of a run as the loop does."""

    def run(name, level):
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"stage": "validation", "step": 0, "accuracy": 0.1, "length": 5}]
        for step in range(1, 11):
            values = {"reward": level, "length": 10 + step, "out_of_band_last": 0.1}
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


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path} has no metrics.jsonl")
    assert not (tmp_path / "out").exists()
