"""What is drawn: benchmarks by name and file, settings, and files of responses."""

import json
import resource

import pytest

from maspo_jax.evaluation import benchmarks, responses
from maspo_jax.evaluation.protocol import MOST_SAMPLES, Evaluation
from maspo_jax.statistics import estimators

FILES = {
    "aime24": "aime24/test.jsonl",
    "aime25": "aime25/test.jsonl",
    "amc23": "amc23/test.jsonl",
    "math500": "math500/test.jsonl",
    "minerva": "minerva/test.jsonl",
    "olympiadbench": "olympiadbench/test.jsonl.gz",
}


def problems(path, count, repeated=False):
    rows = [
        {
            "id": "same" if repeated else str(i),
            "problem": f"{i}+1",
            "answer": str(i + 1),
        }
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_usual_settings_are_those_of_the_papers():
    usual = Evaluation()
    assert (usual.samples, usual.temperature, usual.top_p) == (32, 0.6, 0.95)
    assert set(benchmarks.PUBLISHED) == set(FILES)


def test_the_six_benchmarks_are_read_and_counted(shared):
    words = [f"{name}={shared / 'data' / file}" for name, file in FILES.items()]
    read = benchmarks.read_benchmarks(words)
    assert [benchmark.name for benchmark in read] == list(FILES)
    counts = [len(benchmark.problems) for benchmark in read]
    assert counts == [30, 30, 40, 500, 272, 675]
    grader = {benchmark.name: benchmark.settings()["grader"] for benchmark in read}
    assert grader.pop("minerva") == "Tolerant(relative=0.01)"
    assert set(grader.values()) == {"of the policy"}


def test_answers_of_minerva_agree_to_a_hundredth():
    grader = benchmarks.PUBLISHED["minerva"].grader
    answers = [rf"\boxed{{{number}}}" for number in ("4.53e33", "4.6e33", "x")]
    outcomes = [grader(response, "4.5e33").outcome for response in answers]
    assert outcomes == ["correct", "wrong", "wrong"]


def test_a_benchmark_is_named_or_called_like_its_file(tmp_path):
    plain, named = (
        problems(tmp_path / "own.jsonl", 3),
        problems(tmp_path / "b.jsonl", 2),
    )
    first, second = benchmarks.read_benchmarks([str(plain), f"AMC-like={named}"])
    assert (first.name, len(first.problems)) == ("own", 3)
    assert (second.name, len(second.problems)) == ("AMC-like", 2)


def test_settings_change_with_every_answer_and_with_nothing_else(tmp_path):
    path = problems(tmp_path / "own.jsonl", 3)
    (one,) = benchmarks.read_benchmarks([str(path)])
    (moved,) = benchmarks.read_benchmarks(
        [f"other={path.rename(tmp_path / 'moved.jsonl')}"]
    )
    assert one.settings() == moved.settings()
    path.write_text((tmp_path / "moved.jsonl").read_text().replace('"3"', '"4"'))
    (changed,) = benchmarks.read_benchmarks([str(path)])
    assert changed.settings()["digest"] != one.settings()["digest"]


def test_a_benchmark_of_a_session_is_that_of_its_file(tmp_path):
    path = problems(tmp_path / "own.jsonl", 3)
    (read,) = benchmarks.read_benchmarks([path])
    for given in (read, ("own", list(read.problems)), ("own", path)):
        assert benchmarks.read_benchmarks([given]) == [read]


def test_what_is_no_list_of_benchmarks_is_refused(tmp_path):
    path = problems(tmp_path / "own.jsonl", 3)
    (read,) = benchmarks.read_benchmarks([path])
    for given in (str(path), path, read):
        with pytest.raises(TypeError, match="give a list of them"):
            benchmarks.read_benchmarks(given)
    for given, message in (
        ([3], "3 is no benchmark: give NAME=FILE, "),
        ([("own", ["1+1", "2+2"])], "the benchmark 'own' holds '1.1': give `Problem`s"),
    ):
        with pytest.raises(TypeError, match=message):
            benchmarks.read_benchmarks(given)
    for given, message in (
        ([], "give at least one"),
        ([("own", [])], "the benchmark 'own' holds 0 problems: "),
        ([("a/b", read.problems)], "'a/b' cannot name a benchmark"),
        ([benchmarks.Benchmark("../a", read.problems)], "cannot name a benchmark"),
        ([("AIME24", read.problems)], "aime24 has 30 problems but the benchmark"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmarks.read_benchmarks(given)


def test_what_is_no_benchmark_is_refused(tmp_path):
    own = problems(tmp_path / "own.jsonl", 3)
    for words, message in (
        (["aime24"], "aime24 comes from a file of yours: write aime24=FILE"),
        ([f"AIME24={own}"], "aime24 has 30 problems but .* holds 3: correct"),
        ([str(own), f"own={own}"], "two benchmarks are called 'own'"),
        ([f"a/b={own}"], "'a/b' cannot name a benchmark"),
        ([f"={own}"], "'' cannot name a benchmark"),
        ([str(problems(tmp_path / "one.jsonl", 1))], "holds 1 problem"),
        ([str(problems(tmp_path / "twice.jsonl", 2, True))], "the id 'same'"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmarks.read_benchmarks(words)
    with pytest.raises(FileNotFoundError, match="no file of problems"):
        benchmarks.read_benchmarks([str(tmp_path / "none.jsonl")])


@pytest.mark.parametrize("damage", [b"", b'{"probl'])
def test_a_file_is_opened_behind_its_last_whole_group(tmp_path, damage):
    path = tmp_path / "own.jsonl"
    rows = [
        dict.fromkeys(responses.FIELDS, i) | {"outcome": ("wrong", "correct")[i % 2]}
        for i in range(9)
    ]
    lines = list(map(json.dumps, rows))
    with responses.appended(path, 1) as (append, kept, right):
        assert kept == right == 0
        append(lines[:7])
    with path.open("ab") as file:
        file.write(damage)
    with responses.appended(path, 3) as (append, kept, right):
        assert (kept, right) == (6, 3)
        append(lines[6:])
    assert path.read_text().splitlines() == lines
    assert list(responses.read_responses(path, 3, 3)) == [rows[:3], rows[3:6], rows[6:]]
    with pytest.raises(responses.Unfinished, match="holds 9 of 12 responses: start"):
        list(responses.read_responses(path, 4, 3))
    with pytest.raises(ValueError, match="9 responses where 6 were asked for") as many:
        list(responses.read_responses(path, 2, 3))
    assert not isinstance(many.value, responses.Unfinished)


def test_files_of_before_are_read_and_gone_on_with(tmp_path):
    """The length was called `tokens`, and the reward was not written."""
    path, names = tmp_path / "own.jsonl", [*responses.FIELDS]
    names[names.index("reward") : names.index("length") + 1] = ["tokens"]
    old = [
        dict.fromkeys(names, i) | {"outcome": ("wrong", "correct")[i % 2]}
        for i in range(3)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in old))
    new = dict.fromkeys(responses.FIELDS, 3) | {"outcome": "correct"}
    with responses.appended(path, 1) as (append, kept, right):
        assert (kept, right) == (3, 1)
        append([json.dumps(new)])
    *before, after = (
        row for rows in responses.read_responses(path, 4, 1) for row in rows
    )
    assert after == new
    assert all(tuple(row) == responses.FIELDS for row in before)
    assert [row["length"] for row in before] == [0, 1, 2]
    assert [row["reward"] for row in before] == [0, 1, 0]


@pytest.mark.parametrize("line", [b"\n", b'{"problem": 1}\n', b"[]\n", b'{"probl\n'])
def test_a_whole_line_of_another_kind_is_refused_and_nothing_is_lost(tmp_path, line):
    path = tmp_path / "own.jsonl"
    path.write_bytes(line + b'{"problem": 2}\n')
    with pytest.raises(ValueError, match="own.jsonl, line 1, is not a response"):
        with responses.appended(path, 1):
            pass
    assert path.read_bytes() == line + b'{"problem": 2}\n'


def test_a_disk_that_is_full_is_named_and_what_was_written_is_kept(tmp_path):
    path = tmp_path / "own.jsonl"
    lines = [json.dumps(dict.fromkeys(responses.FIELDS, i)) for i in range(9)]
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = len("".join(f"{line}\n" for line in lines[:2])) + 20
    with pytest.raises(OSError, match=r"own.jsonl: File too large; .* goes on from"):
        with responses.appended(path, 1) as (append, _, _):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
            try:
                append(lines)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    with responses.appended(path, 1) as (append, kept, _):
        assert kept == 2
        append(lines[2:])
    assert path.read_text().splitlines() == lines


def test_as_many_responses_can_be_drawn_as_the_estimators_take():
    assert MOST_SAMPLES == estimators.MOST
