"""Two evaluations, problem by problem: which differences are real."""

import dataclasses
import math
import pathlib

from maspo_jax.config import serialization
from maspo_jax.evaluation.evaluation_folder import read_settings
from maspo_jax.evaluation.responses import read_responses
from maspo_jax.rewards import declaration, graders
from maspo_jax.statistics import comparison, estimators

PLACES = ("folder", "path", "revision")  # of a template: where it lies
NUMBER = "1"  # the answer of a benchmark that brings no grader
IDLE = ("seed", "prompt_length")  # a prompt that does not fit is refused, never cut


def compare_folders(mine, theirs):
    """Compares two evaluations on the benchmarks and problems that both have.

    Args:
        mine: the folder of one evaluation.
        theirs: that of the other.

    Returns:
        A dict for JSON: `samples` of both, `differing` settings, and `scores`: for each
        of `avg@n` and `pass@k` a dict from the name of a benchmark, and `mean` for all
        of several, to the number of `problems`, both means, `mine` and `theirs`, the
        `difference` with `low` and `high`, `p_value`, `corrected` for the number of
        benchmarks by Holm's method (that of `mean` is the `p_value`), and
        `detectable`, None where there are too few problems for any.

    Raises:
        ValueError, OSError: a folder holds no finished evaluation, or they have nothing
            in common.
    """
    settings = [read_settings(folder) for folder in (mine, theirs)]
    common = [
        name for name in settings[0]["benchmarks"] if name in settings[1]["benchmarks"]
    ]
    if not common:
        raise ValueError(
            f"{mine} and {theirs} have no benchmark in common: "
            f"{', '.join(settings[0]['benchmarks'])} against "
            f"{', '.join(settings[1]['benchmarks'])}"
        )
    samples = [data["answers"]["evaluation"]["samples"] for data in settings]
    k = min(samples)
    pairs = {name: _paired(name, (mine, theirs), settings) for name in common}
    scores = {"avg@n": estimators.avg_at_n}
    if k > 1:
        scores[f"pass@{k}"] = lambda correct: estimators.pass_at_k(correct, k)
    return {
        "samples": samples,
        "differing": _differing(*settings),
        "scores": {name: _scores(pairs, score) for name, score in scores.items()},
    }


def _differing(mine, theirs):
    """Returns a line for each setting of prompts, draws and grades that differs."""
    names = mine["benchmarks"], theirs["benchmarks"]
    common = [name for name in names[0] if name in names[1]]
    conditions = [_conditions(data, common) for data in (mine, theirs)]
    return [
        f"{name}: {conditions[0].get(name)!s:.60} against "
        f"{conditions[1].get(name)!s:.60}"
        for name in conditions[0] | conditions[1]
        if conditions[0].get(name) != conditions[1].get(name)
    ] + [
        f"{name}: only {who} answered it"
        for who, own in zip("AB", names, strict=True)
        for name in own
        if name not in common
    ]


def _conditions(data, names):
    """Returns what an evaluation had a policy do on some benchmarks, by dotted name.

    Not where files lie, nor what changes no score: a run and its export agree.
    """
    answers = data["answers"]
    found = serialization.leaves(answers["evaluation"])
    found |= {
        name: value
        for name, value in serialization.leaves(
            {"template": answers["template"]}
        ).items()
        if name.rpartition(".")[2] not in PLACES
    }
    for name in names:
        about = data["benchmarks"][name]
        found[f"{name}.grader"] = _grader(about["grader"], answers["grader"])
        found[f"{name}.digest"] = about["digest"]
    return {name: value for name, value in found.items() if name not in IDLE}


def _grader(of_benchmark, of_policy):
    """Returns who grades a benchmark, as `Benchmark.settings` writes it.

    Args:
        of_benchmark: what that wrote.
        of_policy: the grader of the policy, as `serialization.to_json` returns it.
    """
    if of_benchmark != "of the policy":
        return of_benchmark
    name = of_policy.get("function", of_policy.get("class"))
    for room in ("", ".graders", ".verifier"):
        name = name.removeprefix(f"maspo_jax.rewards{room}:")
    if "function" in of_policy:
        # Older folders say "of the policy" where `grade` checked in its place.
        known = getattr(graders, name, None)
        usual = known is None or declaration.takes(known, NUMBER)
        return name if usual else declaration.name_of(graders.grade)
    fields = (f"{k}={v!r}" for k, v in of_policy.items() if k != "class")
    return f"{name}({', '.join(fields)})"


def _paired(name, paths, settings):
    """Returns the verdicts of both, [P, n] each, on the problems they share."""
    both = []
    for folder, data in zip(paths, settings, strict=True):
        count = data["benchmarks"][name]["problems"]
        samples = data["answers"]["evaluation"]["samples"]
        drawn = read_responses(pathlib.Path(folder) / f"{name}.jsonl", count, samples)
        both.append(
            {
                rows[0]["problem"]: (
                    rows[0]["gold"],
                    [row["outcome"] == "correct" for row in rows],
                )
                for rows in drawn
            }
        )
    shared = [problem for problem in both[0] if problem in both[1]]
    if len(shared) < 2:
        raise ValueError(
            f"{name}: {paths[0]} and {paths[1]} share {len(shared)} problems; at least "
            "2 can be compared"
        )
    for problem in shared:
        golds = [answers[problem][0] for answers in both]
        if golds[0] != golds[1]:
            raise ValueError(
                f"{name}: problem {problem!r} has the answer {golds[0]!r} in "
                f"{paths[0]} but {golds[1]!r} in {paths[1]}: evaluate both on one file"
            )
    return [
        estimators.verdicts([answers[problem][1] for problem in shared])
        for answers in both
    ]


def _scores(pairs, score):
    """Returns the comparison of one score on every benchmark, and on their mean."""
    values = {name: [score(matrix) for matrix in pair] for name, pair in pairs.items()}
    found = {name: _compared(*pair) for name, pair in values.items()}
    corrected = comparison.holm([row["p_value"] for row in found.values()])
    for row, value in zip(found.values(), corrected, strict=True):
        row["corrected"] = float(value)
    if len(found) > 1:
        mine, theirs = map(list, zip(*values.values(), strict=True))
        whole = comparison.compare(mine, theirs)
        means = [
            sum(row[who] for row in found.values()) / len(found)
            for who in ("mine", "theirs")
        ]
        problems = sum(row["problems"] for row in found.values())
        row = _row(whole, *means, problems)
        found["mean"] = row | {"corrected": row["p_value"]}
    return found


def _compared(mine, theirs):
    difference = comparison.compare(mine, theirs)
    return _row(difference, float(mine.mean()), float(theirs.mean()), len(mine))


def _row(difference, mine, theirs, problems):
    interval = dataclasses.asdict(difference.interval)
    detectable = difference.detectable
    return {
        "problems": problems,
        "mine": mine,
        "theirs": theirs,
        "difference": interval.pop("mean"),
        **interval,
        "p_value": difference.p_value,
        "detectable": detectable if math.isfinite(detectable) else None,
    }
