"""Tables and pictures of evaluations show the numbers they are given."""

import json

import matplotlib.image
import numpy as np
import pytest

from maspo_jax.data.sources import Problem
from maspo_jax.evaluation import compare_folders, responses, scores
from maspo_jax.reports import tables
from maspo_jax.reports.figures.evaluations import draw_comparison, draw_results
from maspo_jax.statistics import comparison

ANSWERS = {"a": "correct", "b": "wrong", "c": "wrong", None: "no_answer"}


def rows_of(text):
    """Returns the rows of a problem: one letter per response, - for no answer."""
    answers = [None if letter == "-" else letter for letter in text]
    return [
        dict.fromkeys(responses.FIELDS, "")
        | {"problem": text, "sample": i, "answer": answer, "outcome": ANSWERS[answer]}
        | {
            "length": i + 1,
            "truncated": i == 3,
            "rule": "letters",
            "response": str(answer),
        }
        for i, answer in enumerate(answers)
    ]


GROUPS = [rows_of(text) for text in ("aaaa", "abbc", "a--b", "bbcc", "----")]


@pytest.fixture(scope="module")
def found():
    return scores.of_benchmark(GROUPS)


def test_scores_are_those_of_the_letters(found):
    assert found["avg"]["mean"] == pytest.approx((4 + 1 + 1) / 20)
    assert found["pass"]["4"]["mean"] == pytest.approx(3 / 5)
    assert found["pass"]["2"]["mean"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 5)
    assert found["best"]["4"]["mean"] == pytest.approx((1 + 2 * (1 - 0.75**4)) / 5)
    # Won, lost to b, tied with b (silence has no vote), lost, nobody voted.
    assert found["majority"]["4"]["mean"] == pytest.approx((1 + 0 + 1 / 2) / 5)
    assert found["outcomes"]["no_answer"] == pytest.approx(6 / 20)
    assert found["truncated"] == 0.25 and found["length"] == 2.5
    assert [*found["pass"]] == ["1", "2", "4"]


def test_numbers_of_draws_are_powers_of_two_and_all():
    assert scores.draws(1) == [1]
    assert scores.draws(8) == [1, 2, 4, 8]
    assert scores.draws(12) == [1, 2, 4, 8, 12]


def test_wrong_answers_are_the_same_if_written_the_same():
    rows = rows_of("bbca")
    rows[0]["answer"], rows[1]["answer"], rows[3]["answer"] = "1 2", "12", "anything"
    np.testing.assert_array_equal(scores.labels_of([rows]), [[1, 1, 2, 0]])


def test_the_average_is_the_plain_mean_of_benchmarks():
    average = scores.average([GROUPS, GROUPS[:2]])
    assert average["avg"]["mean"] == pytest.approx((6 / 20 + 5 / 8) / 2)
    assert average["pass"]["4"]["mean"] == pytest.approx((3 / 5 + 1) / 2)


def test_tables_hold_the_numbers_and_keep_pass_and_best_apart(found):
    whole = {"benchmarks": {"letters": found}, "average": None}
    text = tables.evaluation_markdown("somebody", whole)
    line = next(
        line
        for line in text.splitlines()
        if " ".join(line.split()).startswith("| letters | 5 |")
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    shown = [float(cell.split()[0]) for cell in (cells[2], *cells[4:])]
    expected = [found["avg"]] + [
        found[name]["4"] for name in ("pass", "best", "majority")
    ]
    assert shown == pytest.approx([100 * part["mean"] for part in expected], abs=0.051)
    assert (
        cells[2]
        == f"30.0 [{100 * found['avg']['low']:.1f}, {100 * found['avg']['high']:.1f}]"
    )
    assert "mean |" not in text.splitlines()[4]
    both = whole | {"average": scores.average([GROUPS, GROUPS])}
    assert "| mean |" in " ".join(tables.evaluation_markdown("somebody", both).split())


def test_one_response_has_no_error_of_drawing_again():
    single = scores.of_benchmark([rows[:1] for rows in GROUPS])
    assert single["chance"] is None
    text = tables.evaluation_markdown(
        "somebody", {"benchmarks": {"x": single}, "average": None}
    )
    assert "nan" not in text and "avg@1" in text


def test_the_text_shows_a_right_and_a_wrong_response_of_each_problem():
    text = "".join(
        part
        for rows in GROUPS
        for part in tables.readable(Problem(rows[0]["problem"], "which?", "a"), rows)
    )
    assert text.count("--- right") == 3 and text.count("--- wrong") == 4
    assert "abbc: right 1 of 4" in text and "  2 x wrong b\n" in text
    assert "  4 x no answer\n" in text
    assert "--- wrong: response 1, 2 tokens; wrong by rule: letters\nb\n" in text


def test_pictures_show_their_numbers(found, tmp_path):
    other = scores.of_benchmark(GROUPS[1:])
    pictures = [
        draw_results(
            "title", {"benchmarks": parts, "average": None}, tmp_path / "p.png"
        )
        and matplotlib.image.imread(tmp_path / "p.png")
        for parts in ({"x": found}, {"x": other}, {"x": found, "y": other})
    ]
    assert (pictures[0] != pictures[1]).any()
    assert pictures[0].shape != pictures[2].shape or (pictures[0] != pictures[2]).any()


def test_dots_at_an_end_of_the_scale_are_not_cut(found, monkeypatch):
    drawn = []
    save = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    draw_results("title", {"benchmarks": {"x": found}, "average": None}, "nowhere.png")
    curves, points = drawn[0].axes
    for low, high in (curves.get_ylim(), points.get_xlim()):
        assert low < 0 and high > 1


def compared(gain, problems=40):
    draw = np.random.default_rng(0)
    theirs = draw.random(problems) / 2
    difference = comparison.compare(theirs + gain * draw.random(problems), theirs)
    row = compare_folders._row(difference, 0.5, 0.4, problems) | {
        "corrected": difference.p_value
    }
    of_x = {"avg@n": {"x": row}}
    return {
        "samples": [4, 4],
        "differing": ["top_p: 1.0 against 0.9"],
        "scores": of_x,
    }


@pytest.mark.parametrize("gain", [0.2, 0.01, -0.2])
def test_the_picture_of_a_comparison_leaves_room_around_what_it_shows(
    monkeypatch, gain
):
    drawn = []
    save = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    draw_comparison(("one", "other"), compared(gain), "nowhere.png")
    (panel,) = drawn[0].axes
    low, high = panel.get_xlim()
    row = compared(gain)["scores"]["avg@n"]["x"]
    ends = [row["low"], row["high"], row["detectable"], -row["detectable"]]
    assert low < min(ends) and max(ends) < high
    assert "0" in [panel.xaxis.get_major_formatter()(x, 0) for x in panel.get_xticks()]


def test_a_comparison_says_which_differences_are_real(tmp_path):
    words = {
        gain: tables.comparison_markdown(("one", "other"), compared(gain))
        for gain in (0.2, -0.2)
    }
    assert "A is better" in words[0.2] and "B is better" in words[-0.2]
    assert "not told apart" in tables.comparison_markdown(("a", "b"), compared(0.0))
    assert "They differ in top_p: 1.0 against 0.9." in words[0.2]
    pictures = []
    for gain in (0.2, 0.0):
        path = draw_comparison(("one", "other"), compared(gain), tmp_path / "c.png")
        pictures.append(matplotlib.image.imread(path))
    assert (pictures[0] != pictures[1]).any()


def test_a_comparison_of_very_few_problems_says_that_it_detects_nothing(
    monkeypatch, tmp_path
):
    few = compared(0.2, problems=5)
    assert few["scores"]["avg@n"]["x"]["detectable"] is None
    json.dumps(few, allow_nan=False)
    text = tables.comparison_markdown(("one", "other"), few)
    assert "none" in next(line for line in text.splitlines() if line[:3] == "| x")
    assert "the row of means is a test of its own" in " ".join(text.split()).lower()
    drawn = []
    save = lambda figure, *_, **__: drawn.append(figure)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    draw_comparison(("one", "other"), few, "nowhere.png")
    (panel,) = drawn[0].axes
    gray = panel.patches[0]
    assert (gray.get_x(), gray.get_x() + gray.get_width()) == panel.get_xlim()
