"""What an evaluation has come to, in its folder: texts, scores, tables, a picture."""

import json

import jax

from maspo_jax import distributed
from maspo_jax.evaluation import evaluation_folder, responses, scores
from maspo_jax.reports import tables
from maspo_jax.reports.figures.evaluations import draw_results
from maspo_jax.storage import created


def conclude(folder, read, settings, display):
    """Writes and shows what an evaluation has come to, in the first process.

    Args:
        folder: of the evaluation, a `pathlib.Path`.
        read: the list of `Benchmark`.
        settings: of the evaluation, see `evaluation_folder.opened`.
        display: a `Display`, entered.

    Returns:
        What `results.json` holds, a dict; in every process of a pod.
    """
    with distributed.raise_on_all_hosts():
        if jax.process_index() == 0:
            display.stage("counting")
            with created(folder):
                write_results(folder, read, settings, display)
    return json.loads((folder / "results.json").read_text())


def write_results(folder, read, settings, display):
    """Writes the texts, the results, their tables and their picture."""
    samples = settings["answers"]["evaluation"]["samples"]
    rows = {one.name: write_texts(folder, one, samples) for one in read}
    for name, about in evaluation_folder.read_settings(folder)["benchmarks"].items():
        if name not in rows:  # of an earlier call, if it was finished
            earlier = finished(folder / f"{name}.jsonl", about["problems"], samples)
            rows |= {name: earlier} if earlier else {}
    found = {
        "benchmarks": {name: scores.of_benchmark(rows[name]) for name in rows},
        "average": scores.average([*rows.values()]) if len(rows) > 1 else None,
    }
    (folder / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    text = tables.evaluation_markdown(settings["policy"], found)
    (folder / "results.md").write_text(text, encoding="utf-8")
    picture = draw_results(settings["policy"], found, folder / "results.png")
    display.note(text)
    display.note(f"The picture is {picture}; the responses are in {folder}/*.txt")
    display.note(f"Compare policies: maspo compare {folder} OTHER_FOLDER")


def finished(path, problems, samples):
    """Returns the rows of each problem without the texts; [] if some are missing.

    Raises:
        ValueError: a line is no response: nobody may take that for an unfinished file.
    """
    try:
        drawn = list(responses.read_responses(path, problems, samples))
    except responses.Unfinished:
        return []
    return [[row | {"response": None} for row in rows] for rows in drawn]


def write_texts(folder, benchmark, samples):
    """Writes the responses for reading. Returns the rows of each problem without them.

    They may take gigabytes, so they are read one problem at a time.
    """
    count, kept = len(benchmark.problems), []
    drawn = responses.read_responses(folder / f"{benchmark.name}.jsonl", count, samples)
    with (folder / f"{benchmark.name}.txt").open("w", encoding="utf-8") as file:
        for problem, rows in zip(benchmark.problems, drawn, strict=True):
            file.writelines(tables.readable(problem, rows))
            kept.append([row | {"response": None} for row in rows])
    return kept
