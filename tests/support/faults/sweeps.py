"""Faults of sweeps and races."""

from support.faults import Fault

FOLDER, RACE = "sweeps/test_sweep_folder.py", "sweeps/test_race.py"
SETTINGS, KILLS = "sweeps/test_sweep_settings.py", "sweeps/test_sweep_kills.py"
SEARCH, SPACE = "sweeps/test_search.py", "sweeps/test_space.py"
ALONE = f"{FOLDER}::test_every_run_is_what_it_is_alone"
FAULTS = [
    Fault(
        "all runs of a group have the learning rate of the first",
        "sweeps/together.py",
        "return jax.device_put(state, _place(programs))",
        "return jax.device_put(state.replace(opt_state=opt_state), _place(programs))",
        (ALONE,),
    ),
    Fault(
        "all runs of a group are drawn with the key of the first seed",
        "sweeps/together.py",
        'keys = {seed: key_for("sampling", seed, step) for seed in taken}',
        'keys = {seed: key_for("sampling", seeds[0], step) for seed in taken}',
        (ALONE,),
    ),
    Fault(
        "all runs take the minibatches in the order of the first seed",
        "sweeps/together.py",
        "orders = np.stack([self._order(run, step) for run in self.experiments])",
        "orders = np.stack([self._order(self.common, step) for run in "
        "self.experiments])",
        (ALONE,),
    ),
    Fault(
        "runs of different losses train together",
        "sweeps/together.py",
        "return {name: leaves[name] for name in leaves if name not in traced}",
        'return {n: leaves[n] for n in leaves if not n.startswith("objective")}',
        (f"{SETTINGS}::test_runs_train_together_that_differ_in_numbers_alone",),
    ),
    Fault(
        "a run that failed ends the others",
        "sweeps/chunk.py",
        "        except FloatingPointError as error:\n            member",
        "        except ZeroDivisionError as error:\n            member",
        (f"{FOLDER}::test_a_run_that_fails_is_marked_and_the_others_go_on",),
    ),
    Fault(
        "the steps behind the newest checkpoint of a chunk stay in the log",
        "sweeps/chunk.py",
        'kept = {"reinforcement": done, "validation": done, "update": done * per_step}',
        'kept = {"reinforcement": 99, "validation": 99, "update": 99 * per_step}',
        (KILLS,),
    ),
    Fault(
        "a run that ended is trained again",
        "sweeps/run.py",
        "left = [r for r in group.runs if r.name not in taken and not ended(r)]",
        "left = [r for r in group.runs if r.name not in taken]",
        (f"{FOLDER}::test_the_same_command_repeats_nothing_and_trains_what_was_added",),
    ),
    Fault(
        "halving keeps the worse runs",
        "sweeps/run.py",
        'best = sorted(scores.values(), reverse=self.sweep.goal == "max")',
        'best = sorted(scores.values(), reverse=self.sweep.goal != "max")',
        (f"{FOLDER}::test_halving_stops_the_worse_half",),
    ),
    Fault(
        "a race reports the seeds that tuned it",
        "sweeps/race.py",
        "            self.seeds,\n            self.metric,\n            names",
        "            self.tuning_seeds,\n            self.metric,\n            names",
        (RACE,),
    ),
    Fault(
        "tuning takes the worst setting",
        "sweeps/race.py",
        "best = int(np.argmax(of_trial))",
        "best = int(np.argmin(of_trial))",
        (f"{RACE}::test_a_race_tunes_and_judges_on_different_seeds",),
    ),
    Fault(
        "a collapsed run keeps its score",
        "sweeps/race.py",
        "return values[-1] if kept else math.nan",
        "return values[-1]",
        (f"{RACE}::test_a_run_that_lost_half_of_its_best_has_collapsed",),
    ),
    Fault(
        "a method may be tried more often than another",
        "sweeps/race.py",
        "if len({*counts.values()}) > 1 or not all(counts.values()):",
        "if not all(counts.values()):",
        (f"{RACE}::test_an_unfair_race_is_refused",),
    ),
    Fault(
        "a study is told the score of one seed",
        "sweeps/run.py",
        "score = sum(scores) / len(scores)",
        "score = scores[0]",
        (f"{SEARCH}::test_a_study_is_told_what_its_trials_have_come_to",),
    ),
    Fault(
        "a metric of steps stands in the row of the step after",
        "sweeps/table.py",
        "measured.setdefault(step, {}).update(numbers)",
        "measured.setdefault(step + (not prefix), {}).update(numbers)",
        (f"{FOLDER}::test_the_table_has_a_row_for_each_run_and_step",),
    ),
    Fault(
        "a draw on a logarithm is uniform",
        "sweeps/space.py",
        "return self.low * (self.high / self.low) ** share",
        "return self.low + share * (self.high - self.low)",
        (f"{SPACE}::test_sobol_covers_each_interval_evenly",),
    ),
    Fault(
        "a probability against the first method is not turned",
        "reports/figures/sweeps.py",
        'turned = {"mean": 1 - p["mean"], "low": 1 - p["high"], "high": 1 - p["low"]}',
        "turned = p",
        ("reports/test_sweep_figures.py",),
    ),
    Fault(
        "policies drawn from side by side leave the loop with the first of them",
        "rollout/generate.py",
        "return jnp.max(number), False",
        "return jnp.min(number), False",
        ("sweeps/test_together.py",),
    ),
    Fault(
        "the price on the KL in the reward is that of the first run",
        "sweeps/together.py",
        "own = dataclasses.replace(objective, kl_in_reward=price)",
        "own = objective",
        ("sweeps/test_together.py",),
    ),
]
