"""What drawing responses costs beside Transformers and Tunix, on one core of a CPU.

    pip install -e ".[oracles]"
    python experiments/benchmarks/sampler.py --json sampler.json
    python experiments/benchmarks/sampler.py --cases heavy-tailed --tunix PYTHON

All load one random Qwen2, in float32, and take turns, each in a process of its own and
one thread, so that whatever else the machine does falls on all alike. What counts are
CPU seconds of the process, after a run that is not timed.

In the heavy-tailed case responses end where a table says, in all of them. Ours is given
all rows at once and draws as many at a time as it has slots; the peers take batches.
The packages disagree about jax: `--tunix` is the interpreter of another environment.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

VOCABULARY, PAD, END = 4096, 0, 1
QWEN2 = dict(
    vocab_size=VOCABULARY,
    hidden_size=256,
    intermediate_size=1024,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=2,
    max_position_embeddings=4096,
    rms_norm_eps=1e-6,
    rope_theta=1e6,
    tie_word_embeddings=True,
    eos_token_id=END,
    pad_token_id=PAD,
    bos_token_id=None,
)
ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
BRIEF = 4  # tokens of the responses of a run that is not timed


@dataclasses.dataclass(frozen=True)
class Case:
    """Responses to draw."""

    prompts: int
    responses: int  # to each
    prompt: int  # tokens of the longest
    shortest: int  # prompt
    cap: int  # tokens of a response
    median: int | None  # of heavy-tailed lengths; None: all reach the cap
    slots: tuple[int | None, ...]  # of ours; None: one for each row
    batch: int  # rows that a peer draws at a time
    turns: int

    @property
    def rows(self):
        """How many responses in all."""
        return self.prompts * self.responses

    @property
    def lengths(self):
        """[N], of the responses."""
        if self.median is None:
            return np.full(self.rows, self.cap)
        drawn = np.random.default_rng(0).lognormal(np.log(self.median), 0.75, self.rows)
        return np.clip(drawn, BRIEF, self.cap).astype(int)

    @property
    def texts(self):
        """The prompts, lists of tokens."""
        random = np.random.default_rng(0)
        sizes = random.integers(self.shortest, self.prompt + 1, self.prompts)
        return [random.integers(3, VOCABULARY, size).tolist() for size in sizes]

    def padded(self):
        """Returns the prompts, padded on the left, and which tokens are theirs."""
        rows = [[PAD] * (self.prompt - len(text)) + text for text in self.texts]
        tokens = np.array(rows, np.int32)
        return tokens, tokens != PAD

    def batches(self):
        """Returns slices of rows, those of the peers."""
        return [slice(n, n + self.batch) for n in range(0, self.rows, self.batch)]


CASES = {
    "full": {
        "uniform": Case(8, 8, 64, 64, 128, None, (None,), 64, turns=5),
        "heavy-tailed": Case(32, 8, 64, 20, 1024, 70, (64, None), 64, turns=1),
    },
    "tiny": {
        "uniform": Case(2, 2, 8, 8, 8, None, (None,), 4, turns=2),
        "heavy-tailed": Case(4, 2, 8, 4, 16, 6, (4, None), 4, turns=1),
    },
}


# The systems: each gets a case and the folder of the checkpoint, and returns a function
# that draws all of it; it is ready to be timed.


def ours(case, folder, slots):
    """This project: `rollout.generate.sample`."""
    import accelerator  # beside this file
    import jax

    from maspo_jax import distributed
    from maspo_jax.learning.run import keep_freed_memory
    from maspo_jax.models.huggingface import load
    from maspo_jax.models.sharding import param_specs
    from maspo_jax.rollout.generate import SamplingParams, sample
    from maspo_jax.types import Prompts

    keep_freed_memory()  # as a training run does
    mesh, lengths = distributed.make_mesh(), case.lengths
    config = load.Checkpoint(str(folder)).config
    specs = param_specs(load.skeleton(config), mesh)
    policy = load.load(folder, config, distributed.named_shardings(specs, mesh))
    prompts = distributed.shard_rows(Prompts(*case.padded()), mesh)
    params = SamplingParams(case.responses, case.cap, (END,), PAD, slots=slots)
    with accelerator.ended_by(lengths, END):
        lowered = sample.lower(policy, prompts, jax.random.key(0), params, mesh)
        program = lowered.compile()

    def run(turn):
        rollout = program(policy, prompts, jax.random.key(turn))
        drawn = np.asarray(rollout.sequences.response_mask).sum(axis=1)
        assert np.array_equal(drawn, lengths), "a row did not end where the table says"

    run(0)
    return run


def transformers(case, folder, _):
    """`generate` of Transformers, with its defaults."""
    import torch
    from transformers import AutoModelForCausalLM, StoppingCriteriaList
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    tokens, mask = (
        torch.tensor(np.repeat(array, case.responses, axis=0)).long()
        for array in case.padded()
    )
    settings = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0)

    def run(turn, lengths=case.lengths):
        torch.manual_seed(turn)
        for rows in case.batches():
            need = torch.tensor(lengths[rows])
            ended = lambda ids, *_, need=need, **__: ids.shape[1] - case.prompt >= need
            with torch.inference_mode():
                drawn = model.generate(
                    tokens[rows],
                    attention_mask=mask[rows],
                    max_new_tokens=case.cap,
                    pad_token_id=PAD,
                    stopping_criteria=StoppingCriteriaList([ended]),
                    **settings,
                )
            assert drawn.shape[1] - case.prompt == need.max()

    run(0, np.full(case.rows, BRIEF))
    return run


def tunix(case, folder, _):
    """The `Sampler` of Tunix, with its defaults."""
    import jax
    import jax.numpy as jnp
    from tunix.generate import sampler
    from tunix.models.qwen2 import model, params

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", DeprecationWarning)
    heads = QWEN2["num_attention_heads"]
    shape = dict(
        num_layers=QWEN2["num_hidden_layers"],
        num_kv_heads=QWEN2["num_key_value_heads"],
        head_dim=QWEN2["hidden_size"] // heads,
    )
    config = model.ModelConfig(
        vocab_size=VOCABULARY,
        embed_dim=QWEN2["hidden_size"],
        hidden_dim=QWEN2["intermediate_size"],
        num_heads=heads,
        norm_eps=QWEN2["rms_norm_eps"],
        rope_theta=int(QWEN2["rope_theta"]),
        use_tied_embedding=True,
        **shape,
    )
    axes = ("fsdp", "tp")
    mesh = jax.make_mesh((1, 1), axes, (jax.sharding.AxisType.Auto,) * 2)
    with mesh:
        policy = params.create_model_from_safe_tensors(
            str(folder), config, mesh, dtype=jnp.float32
        )
    plain = sampler.Sampler._sample

    def sample(self, logits, eos, cache, sampler_state):
        # The lengths lie behind the two words of the seed.
        seed = sampler_state.seed
        state = dataclasses.replace(sampler_state, seed=seed[:2])
        state = plain(self, logits=logits, eos=eos, cache=cache, sampler_state=state)
        drawn = state.decoding_step - state.num_input_tokens + 1
        return dataclasses.replace(state, done=drawn >= seed[2:], seed=seed)

    sampler.Sampler._sample = sample
    cache = sampler.CacheConfig(cache_size=case.prompt + case.cap, **shape)
    draw = sampler.Sampler(policy, Numbers(), cache)
    asked = [" ".join(map(str, text)) for text in case.texts]
    asked = [text for text in asked for _ in range(case.responses)]

    def run(turn, lengths=case.lengths):
        for rows in case.batches():
            seed = jax.random.PRNGKey(turn)
            seed = jnp.concatenate([seed, jnp.asarray(lengths[rows], jnp.uint32)])
            with mesh:
                draw(
                    asked[rows],
                    max_generation_steps=case.cap,
                    max_prompt_length=case.prompt,
                    eos_tokens=[Numbers.never],
                    return_logprobs=True,  # as ours does
                    temperature=1.0,
                    top_p=1.0,
                    seed=seed,
                )

    run(0, np.full(case.rows, BRIEF))
    return run


class Numbers:
    """A tokenizer for Tunix: tokens are written as their numbers."""

    never = VOCABULARY + 1  # the end token, which is never drawn

    def encode(self, text, **_):
        """Returns tokens."""
        return [int(word) for word in text.split()]

    def decode(self, tokens, **_):
        """Returns text."""
        return " ".join(str(int(token)) for token in tokens)

    def bos_id(self):
        """There is none."""

    def eos_id(self):
        """Returns a token out of the vocabulary."""
        return self.never

    def pad_id(self):
        """Returns what fills up rows."""
        return PAD


SYSTEMS = {"ours": ours, "transformers": transformers, "google-tunix": tunix}


# Processes that take turns.


def make_checkpoint(folder):
    """Writes a random Qwen2."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**QWEN2))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)  # zero at first
    model.save_pretrained(folder)


def serve(system, case, folder, slots):
    """Makes a system ready, then draws once for each line it reads, and says so."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is no answer
    run = SYSTEMS[system](case, pathlib.Path(folder), slots)
    print(json.dumps("ready"), file=said, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run(int(line))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        answer = {"cpu": cpu, "wall": wall, "GiB": memory}
        print(json.dumps(answer), file=said, flush=True)


class Worker:
    """A process that has one system ready."""

    def __init__(self, python, *words):
        self.process = subprocess.Popen(
            [python, __file__, "--serve", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.runs = []
        self.answer()

    def answer(self):
        """Returns what the process says; ends if it failed."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended: {self.process.wait()}")
        return json.loads(line)

    def turn(self, number):
        """Draws once."""
        print(number, file=self.process.stdin, flush=True)
        self.runs.append(self.answer())

    def end(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()

    def median(self, what):
        """Returns the median of a measure over its runs."""
        return statistics.median(run[what] for run in self.runs)


def commands_of(name, folder, options, tunix_python):
    """Returns {system: words that start its `Worker`}."""
    sizes = "tiny" if options.tiny else "full"
    case, commands = CASES[sizes][name], {}
    for slots in case.slots:
        words = sys.executable, "ours", sizes, name, folder, slots
        commands[f"ours, {slots or case.rows} slots"] = words
    words = sizes, name, folder, None
    commands["transformers"] = sys.executable, "transformers", *words
    if tunix_python:
        commands["google-tunix"] = tunix_python, "google-tunix", *words
    return commands


def measure(commands, turns):
    """Returns {name: `Worker`} after their turns."""
    workers = {}
    try:
        for name, words in commands.items():
            workers[name] = Worker(*words)
        for turn in range(turns):
            order = list(workers.values())
            for worker in order if turn % 2 == 0 else reversed(order):
                worker.turn(turn + 1)
    finally:
        for worker in workers.values():
            worker.end()
    return workers


def print_table(name, case, workers):
    """Prints what was measured in a case, and returns its rows for a file."""
    tokens = case.lengths.sum()
    print(f"\n{name}: {case.rows} responses, {tokens} tokens\n")
    print("| | CPU s | tokens/CPU s | times ours | wall s | GiB |")
    print("|---|--:|--:|--:|--:|--:|")
    base = next(iter(workers.values())).median("cpu")
    for label, worker in workers.items():
        cpu, wall, memory = map(worker.median, ("cpu", "wall", "GiB"))
        print(
            f"| {label} | {cpu:.2f} | {tokens / cpu:.0f} | {cpu / base:.2f} | "
            f"{wall:.2f} | {memory:.2f} |",
            flush=True,
        )
    mine = {label: worker for label, worker in workers.items() if "ours" in label}
    return [
        {
            "name": f"{name}, {label.removeprefix('ours, ')}",
            "ours": worker.median("cpu"),
            "peer": other.median("cpu"),
            "ratio": other.median("cpu") / worker.median("cpu"),
            "unit": "CPU s",
            "peer_name": peer,
        }
        for label, worker in mine.items()
        for peer, other in workers.items()
        if peer not in mine
    ]


def has_tunix(python):
    """Returns whether an interpreter finds Tunix."""
    words = "import importlib.util as u; raise SystemExit(u.find_spec('tunix') is None)"
    return subprocess.run([python, "-c", words]).returncode == 0


def main(words=None):
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", nargs="+", choices=CASES["full"], default=list(CASES["full"])
    )
    parser.add_argument("--turns", type=int, help="of each system")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--tunix", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--tiny", action="store_true", help="for a trial")
    parser.add_argument("--json", metavar="FILE", help="also writes the rows here")
    options = parser.parse_args(words)
    os.environ.update(ONE_THREAD)
    os.sched_setaffinity(0, {options.core})
    python = options.tunix if has_tunix(options.tunix) else None
    versions = {"python": platform.python_version()}
    for package in ("jax", "torch", "transformers"):
        versions[package] = importlib.metadata.version(package)
    date = time.strftime("%F")
    print(", ".join(f"{name} {version}" for name, version in versions.items()), date)
    if not python:
        print("google-tunix is not installed here, and left out")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--serve", folder], check=True)
        for name in options.cases:
            case = CASES["tiny" if options.tiny else "full"][name]
            commands = commands_of(name, folder, options, python)
            workers = measure(commands, options.turns or case.turns)
            rows += print_table(name, case, workers)
            if options.json:
                text = json.dumps(versions | {"date": date, "rows": rows}, indent=1)
                pathlib.Path(options.json).write_text(text + "\n")


def worker(words):
    """Runs in a process that `main` starts."""
    if len(words) == 1:
        return make_checkpoint(words[0])
    system, sizes, name, folder, slots = words
    serve(system, CASES[sizes][name], folder, None if slots == "None" else int(slots))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        worker(sys.argv[2:])
    else:
        main()
