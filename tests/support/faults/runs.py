"""Faults of keys, checkpoints, logs, records and settings."""

from support.faults import Fault

CHECKPOINTS, LOG = "runs/test_checkpoints.py", "runs/test_metrics_log.py"
HISTORY, KEYS = "runs/test_prompt_history.py", "runs/test_keys.py"
CONFIG, FOLDER = "config/test_config.py", "runs/test_run_folder.py"
FAULTS = [
    Fault(
        "evaluations draw with the keys of training",
        "runs/keys.py",
        "jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))",
        "jax.random.fold_in(jax.random.key(seed), len(purpose) % 2)",
        (KEYS,),
    ),
    Fault(
        "every seed has the same keys",
        "runs/keys.py",
        "jax.random.key(seed)",
        "jax.random.key(0)",
        (KEYS,),
    ),
    Fault(
        "the history of prompts is not restored",
        "runs/state.py",
        'host.get("visits") or {},',
        "{},",
        (CHECKPOINTS,),
    ),
    Fault(
        "the position in the problems is not saved",
        "runs/state.py",
        '"problems": self.data,',
        '"problems": None,',
        (CHECKPOINTS,),
    ),
    Fault(
        "problems of one number share their history",
        "runs/prompt_history.py",
        'return _digest(f"{problem.id}\\n{problem.question}")',
        "return _digest(problem.id)",
        (HISTORY,),
    ),
    Fault(
        "the history adds up visits that it was given as totals",
        "runs/prompt_history.py",
        "            self._of[_key(problem)] = tuple(row)",
        "            before = self._of.get(_key(problem), (0, 0, 0))\n"
        "            self._of[_key(problem)] = (before[0] + row[0], *row[1:])",
        (HISTORY,),
    ),
    Fault(
        "checkpoints are ordered by name",
        "runs/checkpoints.py",
        "return sorted(int(name) for name in names if name.isdecimal())",
        "return [int(name) for name in sorted(names) if name.isdecimal()]",
        ("runs/test_records.py",),
    ),
    Fault(
        "a log that is opened again forgets its last step",
        "runs/metrics_log.py",
        'line["step"] <= self._kept.get(line["stage"], -1)',
        'line["step"] < self._kept.get(line["stage"], -1)',
        (LOG,),
    ),
    Fault(
        "updates are numbered from zero",
        "runs/metrics_log.py",
        "enumerate(updates, start=done + 1)",
        "enumerate(updates, start=done)",
        ("runs/test_records.py",),
    ),
    Fault(
        "a gradient that is not finite passes",
        "runs/metrics_log.py",
        'for name in ("loss", "grad_norm"):',
        'for name in ("loss",):',
        ("runs/test_records.py",),
    ),
    Fault(
        "a written ratio is inverted",
        "runs/responses.py",
        "difference = trace.logprob[row][mask] - old_logprob",
        "difference = old_logprob - trace.logprob[row][mask]",
        (LOG,),
    ),
    Fault(
        "padding is written with a response",
        "runs/responses.py",
        "tokens = batch.sequences.response[row][mask]",
        "tokens = batch.sequences.response[row]",
        (LOG,),
    ),
    Fault(
        "the advantage of a response is that of its first token",
        "runs/responses.py",
        "same = (advantage == advantage[0]).all()",
        "same = advantage[0] == advantage[0]",
        (LOG,),
    ),
    Fault(
        "a run goes on with other minibatches",
        "config/serialization.py",
        '    "updates.microbatches",\n',
        '    "updates.microbatches",\n    "updates.minibatches",\n',
        ("runs/test_resumable.py",),
    ),
    Fault(
        "a run goes on to fewer steps",
        "config/serialization.py",
        'more = mine.get("steps", 0) >= theirs.get("steps", 0)',
        "more = True",
        (CONFIG,),
    ),
    Fault(
        "a falling rate goes on for more steps",
        "config/serialization.py",
        'constant = mine.get("optimization.schedule") == "constant"',
        "constant = True",
        (CONFIG,),
    ),
    Fault(
        "an open end of an interval is allowed",
        "settings.py",
        'below = value <= high if interval[-1] == "]" else value < high',
        "below = value <= high",
        ("config/test_refusals.py",),
    ),
    Fault(
        "batches that do not divide pass",
        "config/validation.py",
        "    if number % by:",
        "    if by % number:",
        ("config/test_refusals.py", CONFIG),
    ),
    Fault(
        "a grader is not checked against the template",
        "config/validation.py",
        "if asked and reads and asked not in reads:",
        "if asked and reads and asked in ():",
        ("config/test_refusals.py", CONFIG),
    ),
    Fault(
        "the word of a command chooses a gate and loses its settings",
        "config/loading.py",
        "            default = _replaced(default, names, part)",
        "            _replaced(default, names, part)",
        ("cli/test_words.py",),
    ),
    Fault(
        "files of a mixture are not recorded",
        "runs/provenance.py",
        "    if isinstance(part, tuple | list):\n        return part",
        "    if isinstance(part, list):\n        return part",
        ("runs/test_origins.py",),
    ),
    Fault(
        "TensorBoard forgets the last step before a checkpoint",
        "runs/metrics_log.py",
        "step=self._kept.get(stage, -1) + 1,",
        "step=self._kept.get(stage, -1),",
        (LOG,),
    ),
    Fault(
        "TensorBoard does not find its files",
        "runs/metrics_log.py",
        'f"events.out.tfevents.{',
        'f"events.out.{',
        (LOG,),
    ),
    Fault(
        "a clock adds up the seconds of all steps",
        "runs/metrics_log.py",
        "seconds, self._seconds = self._seconds, {}\n        return seconds",
        "return dict(self._seconds)",
        (LOG,),
    ),
    Fault(
        "minutes are taken for seconds",
        "runs/run_folder.py",
        "checkpoints.age >= 60 * minutes",
        "checkpoints.age >= minutes",
        (FOLDER,),
    ),
    Fault(
        "a stage whose folder is gone begins anew",
        "runs/run_folder.py",
        """    gone |= any(
        not place.is_dir() for stage, place in places.items() if stage in logged
    )
""",
        "",
        (FOLDER,),
    ),
    Fault(
        "of a source that is both, only what is looked at is trained on",
        "config/validation.py",
        "seen = count if same else sum(",
        "seen = sum(",
        (
            "config/test_refusals.py::"
            "test_a_source_that_is_both_is_refused_however_much_of_it_is_looked_at",
        ),
    ),
]
