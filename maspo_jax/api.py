"""What the commands do, as functions that return values and raise errors.

    import maspo_jax

    run = maspo_jax.train(experiment, run_dir="runs/mine")
    run.metrics["reinforcement"]["reward"]                     # [steps]
    maspo_jax.sample(run.policy, ["2+3=?"], n=4)               # 4 for each question
    maspo_jax.evaluate(run.policy, ["aime24=aime24.jsonl"])    # plain data
    maspo_jax.evaluate(run.policy, [("mine", problems)])       # of this session
    maspo_jax.grade("so \\boxed{0.5}", "1/2").outcome          # "correct"

JAX is imported by the first function that needs it, not with this module.
"""

import contextlib
import dataclasses
import functools
import pathlib
import typing

if typing.TYPE_CHECKING:
    import numpy as np

    from maspo_jax.config import Experiment
    from maspo_jax.evaluation.policies import Policy
    from maspo_jax.rewards import Verdict
    from maspo_jax.sweeps import Race, Sweep


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run has come to."""

    run_dir: pathlib.Path

    @functools.cached_property
    def metrics(self) -> dict[str, dict[str, "np.ndarray"]]:
        """{stage: {name: [lines] array}}, as of the stages of `metrics.jsonl`.

        Each has `step`; a metric that a line lacks is NaN there.
        """
        import numpy as np

        from maspo_jax.runs import run_folder

        stages = {}
        for line in run_folder.read_metrics(self.run_dir):
            stages.setdefault(line.pop("stage"), []).append(line)
        return {
            stage: {
                name: np.array([line.get(name, np.nan) for line in lines])
                for name in sorted(set().union(*lines))
            }
            for stage, lines in stages.items()
        }

    @functools.cached_property
    def policy(self) -> "Policy":
        """The policy after the last step, as `load_policy` returns it."""
        return load_policy(self.run_dir)


def train(
    experiment: "Experiment",
    run_dir="runs/experiment",
    *,
    quiet=False,
    source=None,
    accept_code_changes=False,
    compilation_cache=None,
) -> TrainResult:
    """Trains as an experiment says; goes on where a run of it was left.

    Args:
        experiment: the `config.Experiment`.
        run_dir: the folder of the run. If it holds this run already, it goes on.
        quiet: whether nothing is shown while it runs.
        source: the file the experiment was read from, recorded with its digest.
        accept_code_changes: goes on with a gate, a grader or other code of yours that
            has changed since the run began, which is refused else.
        compilation_cache: where compiled programs are kept, a folder or a `gs://` path;
            "none" for nowhere, None for the cache of the user. What JAX is told already
            stays.

    Raises:
        TypeError: the experiment is none.
        ValueError, OSError: something cannot run, by the name of the setting; nothing
            has been written then. Or the folder holds another run.
        FloatingPointError: an update was not finite; nothing was saved after it.
        Interrupted: Ctrl-C or SIGTERM; the state is saved, the same call goes on.
    """
    import jax

    from maspo_jax.config import Experiment
    from maspo_jax.learning.run import run
    from maspo_jax.reports.training import conclude
    from maspo_jax.runs import compilation_cache as cache
    from maspo_jax.runs.display import Display

    if not isinstance(experiment, Experiment):
        raise TypeError(
            f"experiment={experiment!r:.60}: give a config.Experiment; "
            "config.load(FILE) returns that of a file"
        )
    cache.enable(compilation_cache)
    with Display(quiet=quiet or jax.process_index() > 0) as display:
        with cache.reported(display):
            run(experiment, run_dir, display, source, accept_code_changes)
        if jax.process_index() == 0:
            display.stage("drawing")
            conclude(pathlib.Path(run_dir), display)
    return TrainResult(pathlib.Path(run_dir))


def sweep(
    sweep: "Sweep | Race",
    run_dir="runs/sweep",
    *,
    quiet=False,
    source=None,
    compilation_cache=None,
) -> pathlib.Path:
    """Trains all runs of a sweep or a race; goes on where it was left.

    Args:
        sweep: a `sweeps.Sweep` or a `sweeps.Race`.
        run_dir: the folder. If it holds this sweep already, it goes on.
        quiet: whether nothing is shown meanwhile.
        source: the file the sweep was read from, recorded with its digest.
        compilation_cache: as for `train`.

    Returns:
        The folder: `table.parquet` is what the runs of a sweep measured, and
        `verdict.json` what a race has come to.

    Raises:
        TypeError: the sweep is none.
        ValueError, OSError: something cannot run, or the folder holds another sweep.
        Interrupted: Ctrl-C or SIGTERM; all is saved, the same call goes on.
    """
    from maspo_jax.runs import compilation_cache as cache
    from maspo_jax.runs.display import Display
    from maspo_jax.sweeps import Race, Sweep, race, run

    if not isinstance(sweep, Sweep | Race):
        raise TypeError(f"sweep={sweep!r:.60}: give a sweeps.Sweep or a sweeps.Race")
    cache.enable(compilation_cache)
    train = race.run if isinstance(sweep, Race) else run.run
    with Display(quiet=quiet) as display, cache.reported(display):
        train(sweep, run_dir, display, source)
    return pathlib.Path(run_dir)


def load_policy(
    path,
    *,
    step=None,
    dtype=None,
    template=None,
    fsdp=1,
    tensor=1,
    gather="once",
    compilation_cache=None,
) -> "Policy":
    """Returns the policy of a run, or of a checkpoint of Hugging Face.

    Args:
        path: the folder of a run, the folder of a checkpoint, or its name on the hub.
        step: of a run's checkpoint; None for the newest.
        dtype: "float32" or "bfloat16", of the parameters of a checkpoint; None for
            float32. A run has its own.
        template: the name of the instructions a checkpoint is given with each question;
            None for "boxed". A run has its own.
        fsdp: devices that share one copy of the parameters.
        tensor: devices of one process that share its heads while they draw.
        gather: when devices along `fsdp` gather what they draw from: "once", or "layer"
            for each layer at every token, which is slower and takes less memory.
        compilation_cache: as of `train`.

    Raises:
        ValueError, OSError: there is no such policy; the message says which there are.
    """
    from maspo_jax import distributed
    from maspo_jax.evaluation import policies
    from maspo_jax.runs import compilation_cache as cache

    cache.enable(compilation_cache)
    with cache.failures_said():
        mesh = distributed.make_mesh(fsdp, tensor)
        policy = policies.open_policy(path, mesh, step, dtype, template)
    return dataclasses.replace(policy, gather=gather)


def sample(
    policy: "Policy",
    questions,
    *,
    n=1,
    temperature=1.0,
    top_p=1.0,
    prompt_length=None,
    response_length=None,
    seed=0,
    batch=None,
):
    """Draws responses to questions.

    Args:
        policy: from `load_policy`, or that of a `TrainResult`.
        questions: a list of texts, which the policy's template is put around, or of
            `data.sources.Problem`, whose responses are graded as in its training.
        n: responses to each.
        temperature: of the draws; 0 is greedy.
        top_p: the mass of the tokens drawn from.
        prompt_length: the most tokens of a prompt; None for those of its training.
        response_length: likewise of a response.
        seed: of the draws. What is drawn for a question depends on it, on the place of
            the question in the list and on the number of the response alone.
        batch: the most responses drawn at a time; None for 128, or for as many as the
            devices hold if these are fewer.

    Returns:
        A list of n `types.Response`s for each question, in order. Verdict and reward of
        a response to a text, which has no reference answer, are None.

    Raises:
        TypeError: the questions are one text and no list.
        ValueError: no question or one too long to be asked, a setting out of its range,
            or a pod of several processes, where only `evaluate` draws.
    """
    from maspo_jax.evaluation.run import respond

    if isinstance(questions, str):
        raise TypeError(
            f"questions={questions!r:.60}: give a list of them, [{questions!r:.60}]"
        )
    questions = list(questions)
    if not questions:
        raise ValueError("questions=[]: give at least one")
    settings = {"samples": n, "temperature": temperature, "top_p": top_p, "seed": seed}
    lengths = {"prompt_length": prompt_length, "response_length": response_length}
    settings |= {name: number for name, number in lengths.items() if number is not None}
    return respond(policy, questions, settings, batch)


def evaluate(
    policy: "Policy", benchmarks, *, out=None, batch=None, quiet=False, **settings
) -> dict:
    """Measures a policy: avg@k, pass@k and majority@k, with intervals.

    Args:
        policy: from `load_policy`, or that of a `TrainResult`.
        benchmarks: a list of `NAME=FILE` or `FILE`, of pairs of a name and a sequence
            of `data.sources.Problem`, or of `evaluation.benchmarks.Benchmark`; see
            `evaluation.benchmarks.PUBLISHED` for names with a meaning.
        out: the folder of the evaluation; None for `evaluations/` and the title of the
            policy. If it holds this evaluation already, it goes on.
        batch: the most responses drawn at a time; None for 128, or for as many as the
            devices hold if these are fewer.
        quiet: whether nothing is shown while it runs.
        **settings: fields of `evaluation.protocol.Evaluation`, such as `samples`; the
            lengths are those of the policy's training unless given.

    Returns:
        What `results.json` holds: scores by benchmark, and their average.

    Raises:
        TypeError: the benchmarks are one and no list, or something else.
        ValueError, OSError: something cannot be drawn, read or written.
        Interrupted: Ctrl-C or SIGTERM; what was drawn is kept, the same call goes on.
    """
    import jax

    from maspo_jax import distributed
    from maspo_jax.evaluation.benchmarks import read_benchmarks
    from maspo_jax.evaluation.run import complete
    from maspo_jax.reports.results import conclude
    from maspo_jax.runs import compilation_cache
    from maspo_jax.runs.display import Display

    with Display(quiet=quiet or jax.process_index() > 0) as display:
        display.stage("reading the benchmarks")
        with distributed.raise_on_all_hosts():
            found = read_benchmarks(benchmarks)
        drawn = complete(
            policy, found, settings, batch=batch, folder=out, display=display
        )
        with contextlib.ExitStack() as held:
            with compilation_cache.reported(display):
                folder, about = held.enter_context(drawn)
            return conclude(folder, found, about, display)


def export(policy: "Policy", out, *, dtype=None) -> None:
    """Writes a policy as a checkpoint of Hugging Face, which every other tool opens.

    Args:
        policy: from `load_policy`, or that of a `TrainResult`.
        out: a new folder. It gets the configuration, the tokenizer, the weights and the
            chat template that the policy was trained with; none if that was plain text.
        dtype: "float32" or "bfloat16"; None for that of the parameters.

    Raises:
        ValueError, OSError: the folder is not new, or cannot be written to.
    """
    import safetensors

    from maspo_jax.data.prompts import tokenizer_files
    from maspo_jax.models.huggingface.save import export as save
    from maspo_jax.storage import check_new, results_folder

    out = results_folder(out)
    check_new(out)
    tokenizer_files.check_exportable(policy.tokenizer)
    try:
        save(
            policy.decoder,
            out,
            longest=policy.prompt_length + policy.response_length,
            eos_tokens=policy.tokenizer.eos_tokens,
            pad=policy.tokenizer.pad_token_id,
            source=policy.source,
            dtype=dtype,
        )
    except safetensors.SafetensorError as error:  # of a full disk, for example
        raise OSError(f"{out}: {error}; make room, and give a new folder") from error
    tokenizer_files.write_tokenizer(policy.tokenizer, out, policy.template)


def grade(response: str, gold: str, *, deadline=1.0) -> "Verdict":
    """Grades one response against a reference answer, in a process of its own.

    Args:
        response: the whole text, reasoning included.
        gold: the reference answer.
        deadline: in seconds, after which the check counts as undecided.

    Returns:
        The `rewards.Verdict`: its `outcome`, `answer`, `rule` and `reward`.

    Raises:
        ValueError: the deadline is no number of seconds.
    """
    from maspo_jax.rewards import Verifier

    if not 0 < deadline < float("inf"):
        raise ValueError(f"deadline={deadline}: give seconds, more than 0")
    with Verifier(workers=1, deadline=deadline) as verifier:
        return verifier.check(response, gold)
