"""The arena: every gate of the package, raced by the fair recipe in six regimes.

    python experiments/sweeps/arena.py --out runs/arena

goes on where it was left; started twice, both work on it. `--quick` is the same with
three methods, two regimes and few steps, in minutes: a test of the way, not a result.
`arena_regimes.py` says what is raced, and was fixed before stage 2 was run.

At the end: `arena.md` and `arena.json`, and pictures of every regime.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arena_regimes as regimes  # noqa: E402

from maspo_jax import sweeps  # noqa: E402
from maspo_jax.markdown import markdown_table  # noqa: E402
from maspo_jax.runs import compilation_cache  # noqa: E402
from maspo_jax.runs.display import Display  # noqa: E402
from maspo_jax.runs.interrupts import Interrupted  # noqa: E402
from maspo_jax.statistics import comparison, races  # noqa: E402
from maspo_jax.sweeps import figures, race, table  # noqa: E402

QUICK = {"methods": ("GRPO", "MASPO", "DGPO"), "regimes": ("reuse", "lag"), "steps": 4}
TOGETHER = 8  # runs: those of stage 1 of a method, and half of those of stage 2


def main(words=None):
    """Races, and writes what came of it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    compilation_cache.enable(None)
    names = QUICK["regimes"] if options.quick else [*regimes.REGIMES]
    verdicts = {}
    for name in names:
        asked = race_of(name, options.quick)
        folder = options.out / name
        try:
            with Display() as display:
                display.note(f"regime {name}: {regimes.REGIMES[name].about}")
                found = race.run(
                    asked, folder, display, __file__, options.out / "starts"
                )
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command goes on.")
            return interrupted.exit_status
        if found is not None:
            (folder / "figures").mkdir(exist_ok=True)
            figures.draw(folder, folder / "figures")
            verdicts[name] = found
    if len(verdicts) < len(names):
        print("other processes are at work on the rest")
        return 0
    claims = claims_of(options.out, verdicts)
    record = {"verdicts": verdicts, "claims": claims}
    (options.out / "arena.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.out / "arena.md").write_text(page(verdicts, claims))
    print(options.out / "arena.md")
    return 0


def race_of(name, quick=False):
    """Returns the `Race` of a regime."""
    regime, methods = regimes.REGIMES[name], regimes.METHODS
    experiment, seeds = regime.experiment, regimes.SEEDS
    if quick:
        methods = {name: methods[name] for name in QUICK["methods"]}
        steps, seeds = QUICK["steps"], seeds[:3]
        experiment = dataclasses.replace(experiment, steps=steps)
    return sweeps.Race(
        experiment,
        {
            method: regimes.trials_of(settings, regime.rates)
            for method, settings in methods.items()
        },
        seeds=seeds,
        tuning_seeds=regimes.TUNING_SEEDS,
        metric=regimes.METRIC,
        level=regimes.LEVEL,
        together=TOGETHER,
    )


def claims_of(out, verdicts):
    """Returns each planned claim in each regime, a list of dicts."""
    found = []
    for name, verdict in verdicts.items():
        scores = {
            "accuracy": {
                method: {
                    int(seed): verdict["worst"] if score is None else score
                    for seed, score in each["scores"].items()
                }
                for method, each in verdict["methods"].items()
            },
            "entropy": entropies(out / name / "final", verdict),
        }
        for one, other, of in regimes.CLAIMS:
            mine, theirs = scores[of].get(one), scores[of].get(other)
            if mine is None or theirs is None:
                continue
            # An entropy that was not finite is that of a run that failed: none is left.
            pairs = [
                [0.0 if math.isnan(each[seed]) else each[seed] for seed in sorted(mine)]
                for each in (mine, theirs)
            ]
            duel = races.duel(*pairs)
            found.append(
                {"regime": name, "one": one, "other": other, "of": of}
                | {
                    "probability": dataclasses.asdict(duel.better),
                    "difference": dataclasses.asdict(duel.difference),
                    "p_value": duel.p_value,
                    "detectable": duel.detectable
                    if math.isfinite(duel.detectable)
                    else None,
                    "seeds": duel.seeds,
                }
            )
    corrected = comparison.holm([claim["p_value"] for claim in found])
    for claim, p_value in zip(found, corrected, strict=True):
        claim["p_value"] = float(p_value)
        claim["holds"] = outcome(claim)
    return found


def outcome(claim):
    """Returns whether a claim holds: "yes", "no, the reverse" or "cannot be told"."""
    if claim["p_value"] >= comparison.ALPHA:
        return "cannot be told"
    return "yes" if claim["difference"]["mean"] > 0 else "no, the reverse"


def entropies(folder, verdict):
    """Returns {method: {seed: entropy at the last step}} of stage 2, in nats."""
    found = {}
    for run in table.runs_of(folder):
        if run.seed in verdict["seeds"]:
            _, values = run.curve("entropy")
            last = values[-1] if values else math.nan
            found.setdefault(run.label, {})[run.seed] = last
    return found


def page(verdicts, claims):
    """Returns `arena.md`."""
    seeds = len(next(iter(verdicts.values()))["seeds"])
    rows = [
        [
            claim["regime"],
            f"{claim['one']} over {claim['other']}",
            claim["of"],
            interval(claim["probability"], ".2f"),
            interval(claim["difference"], "+.3f"),
            f"{claim['p_value']:.3f}",
            claim["holds"],
        ]
        for claim in claims
    ]
    heads = ["regime", "claim", "of", "P(better)", "difference", "p, Holm", "holds"]
    collapsed = [
        [name, *(f"{v['methods'][name]['collapsed']:.0%}" for v in verdicts.values())]
        for name in regimes.METHODS
        if all(name in verdict["methods"] for verdict in verdicts.values())
    ]
    parts = [
        "# The arena",
        "",
        f"{seeds} seeds in stage 2, all of them drawn; intervals hold 95%.",
        "",
        "## What was claimed",
        "",
        markdown_table(heads, rows, left=3),
        "",
        "## Share of runs that collapsed",
        "",
        markdown_table(["method", *verdicts], collapsed),
    ]
    for name, verdict in verdicts.items():
        about = regimes.REGIMES[name].about
        text = race.describe(verdict).replace("# ", f"## {name}: ", 1)
        parts += ["", f"{text}", "", f"Regime: {about}."]
    return "\n".join(parts) + "\n"


def interval(found, form):
    """Returns an estimate with its interval."""
    ends = f"{found['low']:{form}}, {found['high']:{form}}"
    return f"{found['mean']:{form}} [{ends}]"


if __name__ == "__main__":
    sys.exit(main())
