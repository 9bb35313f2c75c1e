"""A fair race between methods: tuned alike, then judged on seeds that tuned nothing.

Stage 1 tries as many settings of every method on the same few seeds, and takes the best
of each. Stage 2 trains these winners on fresh seeds, and only they are reported: a
setting chosen because it did well on some seeds did partly so by their luck.

tuning/      the sweep of stage 1
winners.json the setting of each method that goes on
final/       the sweep of stage 2
verdict.json who won, by how much, how certain; verdict.md for people
"""

import dataclasses
import json
import math
from typing import Any

import numpy as np

from maspo_jax.config import Experiment, serialization
from maspo_jax.markdown import markdown_table
from maspo_jax.refusals import Refusals
from maspo_jax.runs.folder import Kind
from maspo_jax.settings import check_intervals, setting
from maspo_jax.statistics import races
from maspo_jax.storage import results_folder, write_whole
from maspo_jax.sweeps import run as sweep_run
from maspo_jax.sweeps import table
from maspo_jax.sweeps.chunk import FAILED
from maspo_jax.sweeps.sweep import Sweep, check_metric, seeds_of

RACE = Kind("race", "race.json", "--run", {"methods": dict, "seeds": list})
METHOD = ("objective.", "optimization.")  # what settings of a method may be of
FEW = 5  # seeds, of which no difference can be told for certain


@dataclasses.dataclass(frozen=True)
class Race:
    """Methods, what is tried of each, and the seeds. A sweep file names one `sweep`.

    A run's score is its metric, of which more is better, after the last step. A run
    that failed, or whose metric has lost more than a share of `collapse` of its best,
    counted from `worst`, has collapsed: it counts as `worst`.
    """

    experiment: Experiment
    # {name: dicts of changes}, as many of each; see `Sweep.trials`.
    methods: dict[str, Any]
    seeds: tuple[int, ...] = tuple(range(16))
    tuning_seeds: tuple[int, ...] = (1000, 1001)
    metric: str = "validation/accuracy"
    collapse: float = setting(0.5, "[0, 1)")
    worst: float = setting(0.0)
    # The metric at which steps are counted, a secondary figure; None: none.
    level: float | None = setting(None)
    together: int | None = setting(None, "[1, inf)")

    def __post_init__(self):
        """Refuses what is no fair race."""
        with Refusals() as refusals:
            for name in ("seeds", "tuning_seeds"):
                with refusals.of(name):
                    object.__setattr__(self, name, seeds_of(getattr(self, name)))
            with refusals.of():
                check_intervals(self)
            with refusals.of():
                check_metric(self.metric)
            with refusals.of():
                self._check_methods()
            if refusals.unaffected("seeds", "tuning_seeds"):
                with refusals.of():
                    self._check_seeds()

    def _check_seeds(self):
        if len(self.seeds) < 2:
            raise ValueError(f"seeds={self.seeds}: give at least 2")
        both = sorted({*self.seeds} & {*self.tuning_seeds})
        if both:
            raise ValueError(
                f"seeds and tuning_seeds have {both} in common: a seed that chose a "
                "setting must not judge it; give others"
            )

    def _check_methods(self):
        if not isinstance(self.methods, dict) or len(self.methods) < 2:
            raise ValueError(
                "methods: give at least two, as {name: a list of {setting: value}}"
            )
        methods = {name: (*trials,) for name, trials in self.methods.items()}
        object.__setattr__(self, "methods", methods)
        counts = {name: len(trials) for name, trials in methods.items()}
        if len({*counts.values()}) > 1 or not all(counts.values()):
            raise ValueError(
                f"methods: {counts} settings to try; a fair race tries as many of each "
                "method, at least 1"
            )
        for name, trials in methods.items():
            for each in trials:
                other = [s for s in each if not s.startswith(METHOD)]
                if other:
                    raise ValueError(
                        f"{name}: {other[0]} is no part of a method: runs of different "
                        "tasks or budgets cannot be compared; only settings of "
                        "objective and optimization may differ"
                    )

    def tuning(self):
        """Returns the `Sweep` of stage 1."""
        trials = [each for trials in self.methods.values() for each in trials]
        return Sweep(
            self.experiment,
            trials,
            self.tuning_seeds,
            self.metric,
            together=self.together,
        )

    def final(self, winners):
        """Returns the `Sweep` of stage 2.

        Args:
            winners: {method: its changes}.
        """
        return Sweep(
            self.experiment,
            [*winners.values()],
            self.seeds,
            self.metric,
            names=tuple(winners),
            together=self.together,
        )


def run(race, folder, display, source=None, starts=None):
    """Trains what is left of a race, and says who has won.

    Args:
        race: the `Race`.
        folder: of the race; a race in it is gone on with.
        display: a `Display`, entered.
        source: the file the race was read from; recorded.
        starts: as for `sweeps.run.run`; None for one of the race.

    Returns:
        The verdict, as `verdict.json` has it; None where other processes are at work.

    Raises:
        ValueError, OSError: something cannot run, or the folder holds another race.
        Interrupted: a signal asked to stop; all is saved.
    """
    folder = results_folder(folder, "--run")
    starts = starts or folder / "starts"
    record = _record(race)

    def settle(before):
        if before is not None:
            changes = [
                f"{name}: {before.get(name)!r:.200} in the race, {now!r:.200} here"
                for name, now in record.items()
                if before.get(name) != now
            ]
            RACE.refuse(folder, changes)
        return record

    with RACE.opened(folder, settle, wait=True):
        pass
    display.note(f"stage 1: tuning on seeds {[*race.tuning_seeds]}, never reported")
    if not sweep_run.run(race.tuning(), folder / "tuning", display, source, starts):
        return None
    winners = choose(race, folder / "tuning")
    write_whole(folder / "winners.json", json.dumps(winners, indent=2) + "\n")
    chosen = {
        name: race.methods[name][winner["place"]] for name, winner in winners.items()
    }
    for name, winner in winners.items():
        display.note(f"{name}: {winner['label']}")
    display.note(f"stage 2: the winners on {len(race.seeds)} fresh seeds")
    if not sweep_run.run(race.final(chosen), folder / "final", display, source, starts):
        return None
    verdict = judge(race, folder / "final", winners)
    write_whole(folder / "verdict.json", json.dumps(verdict, indent=2) + "\n")
    text = describe(verdict)
    write_whole(folder / "verdict.md", text)
    for line in headlines(verdict):
        display.note(line)
    display.note(f"The verdict is in {folder / 'verdict.md'}")
    return verdict


def _record(race):
    plain = {
        name: [
            {key: serialization.to_json(value) for key, value in each.items()}
            for each in trials
        ]
        for name, trials in race.methods.items()
    }
    rest = ("metric", "collapse", "worst", "level")
    experiment = serialization.leaves(serialization.to_json(race.experiment))
    free = serialization.RESUMABLE
    record = {"experiment": {n: experiment[n] for n in experiment if n not in free}}
    record |= {"methods": plain, "seeds": [*race.seeds]}
    record |= {"tuning_seeds": [*race.tuning_seeds]}
    # As JSON has it, to be compared with what was read.
    return json.loads(json.dumps(record | {name: getattr(race, name) for name in rest}))


def scores_of(race, runs):
    """Returns the score of each run of a sweep, NaN for one that collapsed.

    Args:
        race: the `Race`.
        runs: `table.RunOfSweep`s.
    """
    found = {}
    for one in runs:
        _, values = one.curve(race.metric)
        if one.status != FAILED and not values:
            raise ValueError(
                f"{one.folder}: {race.metric} was never measured; choose another metric"
            )
        found[one.trial, one.seed] = score_of(
            values, one.status, race.collapse, race.worst
        )
    return found


def score_of(values, status, collapse, worst=0.0):
    """Returns the last of some values, or NaN where the run collapsed.

    Args:
        values: of the metric, in the order of the steps.
        status: of the run.
        collapse: below which share of its best, from the worst on, a run has collapsed.
        worst: the least that a score may be.

    Raises:
        ValueError: a value is below the worst.
    """
    if status == FAILED or not np.isfinite(values).all():
        return math.nan
    if min(values) < worst:
        raise ValueError(
            f"worst={worst:g}: a run measured {min(values):.4g}, which is less; give "
            "the least that the metric may be"
        )
    kept = values[-1] - worst >= collapse * (max(values) - worst)
    return values[-1] if kept else math.nan


def choose(race, folder):
    """Returns the winner of stage 1 of each method, {name: dict}, as plain data.

    The mean over the tuning seeds decides, a collapsed run counted as the worst; of
    equals, the one that is listed first.
    """
    runs = table.runs_of(folder)
    scores, labels = scores_of(race, runs), {one.trial: one.label for one in runs}
    count = len(next(iter(race.methods.values())))
    # The sweep numbers its trials in the order of the methods.
    winners = {}
    for place, name in enumerate(race.methods):
        of_trial = []
        for number in range(place * count, (place + 1) * count):
            own = [scores[number, seed] for seed in race.tuning_seeds]
            of_trial.append(float(np.mean(np.where(np.isnan(own), race.worst, own))))
        best = int(np.argmax(of_trial))
        winners[name] = {
            "place": best,
            "label": labels[place * count + best],
            "scores": of_trial,
            # Of no other setting that was tried there is nothing to lead.
            "lead": float(np.ptp(np.sort(of_trial)[-2:])) if count > 1 else None,
        }
    return winners


def judge(race, folder, winners):
    """Returns the verdict on stage 2, as plain data.

    Args:
        race: the `Race`.
        folder: of the sweep of stage 2.
        winners: from `choose`.
    """
    runs = [one for one in table.runs_of(folder) if one.seed in race.seeds]
    found = scores_of(race, runs)
    names = [*race.methods]
    scores = {
        name: {seed: found[place, seed] for seed in race.seeds}
        for place, name in enumerate(names)
    }
    result = races.race(scores, race.worst)
    curves = {
        (names[one.trial], one.seed): one.curve(race.metric)
        if one.status != FAILED
        else ([], [])
        for one in runs
    }
    none = lambda value: None if math.isnan(value) or math.isinf(value) else value
    return {
        "metric": race.metric,
        "seeds": [*race.seeds],
        "tuning_seeds": [*race.tuning_seeds],
        "tried": len(next(iter(race.methods.values()))),
        "steps": race.experiment.steps,
        "collapse": race.collapse,
        "worst": race.worst,
        "level": race.level,
        "baseline": names[0],
        "winner": result.winner,
        "methods": {
            name: {
                "setting": winners[name]["label"],
                "lead": winners[name]["lead"],
                "interquartile_mean": dataclasses.asdict(each.score),
                "mean": each.mean,
                "collapsed": each.failures,
                "scores": {str(s): none(v) for s, v in scores[name].items()},
                **_secondary(race, name, curves),
            }
            for name, each in result.standings.items()
        },
        "duels": [
            {
                "better": better,
                "worse": worse,
                "probability": dataclasses.asdict(duel.better),
                "difference": dataclasses.asdict(duel.difference),
                "p_value": duel.p_value,
                "detectable": none(duel.detectable),
                "real": bool(duel.real),
            }
            for (better, worse), duel in result.duels.items()
        ],
    }


def _secondary(race, name, curves):
    """Returns the area under the curve, and steps to the level: means over seeds."""
    areas, steps = [], []
    for seed in race.seeds:
        at, values = curves[name, seed]
        if len(at) < 2 or not np.isfinite(values).all():
            areas.append(race.worst)
            steps.append(math.inf)
            continue
        areas.append(races.area_under_curve(at, values))
        if race.level is not None:
            steps.append(races.steps_to_level(at, values, race.level))
    found = {"area_under_curve": float(np.mean(areas))}
    if race.level is not None:
        reached = [step for step in steps if math.isfinite(step)]
        median = float(np.median(steps))
        found["steps_to_level"] = median if math.isfinite(median) else None
        found["reached_level"] = len(reached)
    return found


def headlines(verdict):
    """Returns a sentence for each two methods, the better first."""
    count = len(verdict["seeds"])
    lines = []
    for duel in verdict["duels"]:
        p, d = duel["probability"], duel["difference"]
        line = (
            f"{duel['better']} beats {duel['worse']} with probability "
            f"{p['mean']:.2f} [{p['low']:.2f}, {p['high']:.2f}], {count} seeds; "
            f"difference {d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}], "
            f"p = {duel['p_value']:.3f}: "
        )
        if duel["real"]:
            line += "better for certain"
        elif duel["detectable"] is None:
            line += f"cannot be told: {count} seeds are too few for any difference"
        else:
            line += (
                "cannot be told; a difference of "
                f"{duel['detectable']:.3f} would have been found"
            )
        lines.append(line)
    return lines


def describe(verdict):
    """Returns a verdict as Markdown."""
    count, tried = len(verdict["seeds"]), verdict["tried"]
    level = verdict["level"]
    columns = [
        "method",
        "setting",
        "lead in tuning",
        "IQM",
        "mean",
        "collapsed",
        "area under curve",
    ]
    if level is not None:
        columns.append(f"steps to {level:g} (median; reached)")
    rows = []
    for name, each in verdict["methods"].items():
        score = each["interquartile_mean"]
        row = [
            name,
            each["setting"],
            "" if each["lead"] is None else f"{each['lead']:.3f}",
            f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]",
            f"{each['mean']:.3f}",
            f"{each['collapsed']:.0%}",
            f"{each['area_under_curve']:.3f}",
        ]
        if level is not None:
            steps = each["steps_to_level"]
            steps = "never" if steps is None else f"{steps:g}"
            row.append(f"{steps} ({each['reached_level']}/{count})")
        rows.append(row)
    parts = [
        f"# {verdict['metric']} after {verdict['steps']} steps, {count} seeds",
        "",
        f"Of each method {tried} settings were tried on seeds "
        f"{verdict['tuning_seeds']}; the best was trained on the seeds "
        f"{verdict['seeds']}, which are all that is reported. Intervals hold 95%. A "
        f"run that failed, or ended below {verdict['collapse']:g} times its best, has "
        f"collapsed and counts as {verdict['worst']:g}.",
        "",
        markdown_table(columns, rows, left=2),
        "",
        *(f"- {line}" for line in headlines(verdict)),
        "",
        "p-values are of a permutation test over seeds, corrected by Holm's method for "
        "all pairs. They are of the settings that tuning chose: where a setting led "
        "the next best by little, another choice might have done as well or better, "
        "and no interval here covers that.",
    ]
    if count <= FEW:
        parts += ["", "Every score, as the seeds are few:", ""]
        rows = [
            [name, *(_cell(each["scores"][str(s)]) for s in verdict["seeds"])]
            for name, each in verdict["methods"].items()
        ]
        head = ["method", *(f"seed {s}" for s in verdict["seeds"])]
        parts.append(markdown_table(head, rows))
    return "\n".join(parts) + "\n"


def _cell(score):
    return "collapsed" if score is None else f"{score:.3f}"
