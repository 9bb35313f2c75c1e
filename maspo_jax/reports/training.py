"""What a run has come to: a table, and where to look further."""

import rich.table

from maspo_jax.reports.figures.training_curves import draw_learning_curves
from maspo_jax.runs import run_folder
from maspo_jax.storage import writing


def conclude(folder, display):
    """Shows what the run has come to, and where to look further."""
    validation = run_folder.read_metrics(folder, "validation")
    if not validation:
        display.note(f"{folder}/metrics.jsonl has no held-out accuracy left to show")
        return
    # A log that was damaged may have lost what was measured before the first step.
    first = "earlier" if validation[0]["step"] else "before"
    table = rich.table.Table(title="Held-out problems")
    for name in ("", "accuracy", "response length"):
        table.add_column(name, justify="right")
    for name, line in ((first, validation[0]), ("after", validation[-1])):
        when = f"{name} ({line['step']} steps)"
        length = f"{line['response_length/mean']:.1f} tokens"
        table.add_row(when, f"{line['accuracy']:.1%}", length)
    display.console.print(table)
    display.note(cost(run_folder.read_metrics(folder, "reinforcement")))
    with writing(folder / "learning_curve.png"):
        picture = draw_learning_curves([folder], folder / "learning_curve.png")
    display.note(f"The learning curve is in {picture}")
    display.note(f"Sampled responses, with the gate of each token: {folder}/rollouts")
    display.note(f"Checkpoints: {folder}/checkpoints/reinforcement")
    display.note(f"Measure the policy: maspo evaluate {folder} PROBLEMS.jsonl")
    display.note(f"Compare runs: maspo figures {folder} OTHER_RUN --out .")


def cost(lines):
    """Returns a sentence on what the steps of a run have cost.

    Args:
        lines: of the stage `reinforcement`; what a damaged log has lost is not counted.
    """
    if not lines:
        return "no step was run"
    seconds = round(sum(line["time/step"] for line in lines))
    tokens = sum(line["tokens"] for line in lines)
    hours, minutes = divmod(seconds // 60, 60)
    return (
        f"{len(lines)} steps took {hours}:{minutes:02d}:{seconds % 60:02d}, without "
        f"validation, and drew {tokens:,.0f} response tokens"
    )
