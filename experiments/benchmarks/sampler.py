"""What drawing responses costs beside Transformers and Tunix, on one core of a CPU.

    pip install -e ".[oracles]"
    python experiments/benchmarks/sampler.py --tunix PYTHON --out sampler.md
    python experiments/benchmarks/sampler.py --cases heavy-tailed

All load one random Qwen2, in float32, and take turns, each in a process of its own and
one thread, so that whatever else the machine does falls on all alike. What counts are
CPU seconds of the process, after a run that is not timed.

In the heavy-tailed case responses end where a table says, in all of them. Ours is given
all rows at once and draws as many at a time as it has slots; the peers take batches.
The packages disagree about jax: `--tunix` is the interpreter of another environment.
"""

import dataclasses
import functools
import heapq
import logging
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import turns  # beside this file

VOCABULARY, PAD, END = 4096, 0, 1
NEVER = VOCABULARY + 1  # an end token that is never drawn
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
HEAD_WIDTH = QWEN2["hidden_size"] // QWEN2["num_attention_heads"]
# Parameters that a token is multiplied by.
MATRICES = VOCABULARY * QWEN2["hidden_size"] + QWEN2["num_hidden_layers"] * (
    2 * QWEN2["hidden_size"] ** 2
    + 2 * QWEN2["hidden_size"] * QWEN2["num_key_value_heads"] * HEAD_WIDTH
    + 3 * QWEN2["hidden_size"] * QWEN2["intermediate_size"]
)
BATCH = {"full": 64, "tiny": 4}  # rows that a peer draws at a time
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
    batch: int  # rows that a peer draws at a time
    slots: tuple[int | None, ...]  # of ours; None: one for each row
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

    @property
    def flops(self):
        """Of the products of all tokens; each prompt is read once."""
        lengths, contexts = self.lengths, np.array([*map(len, self.texts)])
        before = np.repeat(contexts, self.responses)
        tokens = contexts.sum() + lengths.sum()
        seen = np.sum(contexts**2 / 2) + np.sum(lengths * (before + lengths / 2))
        wide = QWEN2["num_attention_heads"] * HEAD_WIDTH
        return 2 * MATRICES * tokens + 4 * QWEN2["num_hidden_layers"] * wide * seen

    @property
    def steps(self):
        """Of the loop of ours, with as many slots as the first of them."""
        count, left = self.slots[0] or self.rows, list(self.lengths)
        ends = [0] * count  # of the slots; the next row takes the first that is free
        for length in left:
            heapq.heapreplace(ends, ends[0] + int(length))
        return max(ends)

    @property
    def read_bytes(self):
        """Of the parameters, read once at each step."""
        return 4 * MATRICES * self.steps

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
        "uniform": Case(8, 8, 64, 64, 128, None, BATCH["full"], (None,), turns=5),
        "heavy-tailed": Case(
            32, 8, 64, 20, 1024, 70, BATCH["full"], (64, None), turns=1
        ),
    },
    "tiny": {
        "uniform": Case(2, 2, 8, 8, 8, None, BATCH["tiny"], (None,), turns=2),
        "heavy-tailed": Case(4, 2, 8, 4, 16, 6, BATCH["tiny"], (4, None), turns=1),
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
        head_dim=HEAD_WIDTH,
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
    draw = sampler.Sampler(policy, turns.Numbers(NEVER, PAD), cache)
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
                    eos_tokens=[NEVER],
                    return_logprobs=True,  # as ours does
                    temperature=1.0,
                    top_p=1.0,
                    seed=seed,
                )

    run(0, np.full(case.rows, BRIEF))
    return run


SYSTEMS = {"ours": ours, "transformers": transformers, turns.TUNIX: tunix}


# What is measured.


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


def starts_of(sizes, name, folder, python):
    """Returns {label: a function that starts its `turns.Worker`} of a case.

    Args:
        sizes: "full" or "tiny".
        name: of the case.
        folder: of the checkpoint.
        python: the interpreter that has Tunix, or None.
    """
    case = CASES[sizes][name]

    def start(python, system, slots=None):
        words = system, sizes, name, folder, slots
        return functools.partial(turns.Worker, python, __file__, *words)

    starts = {
        f"ours, {slots or case.rows} slots": start(sys.executable, "ours", slots)
        for slots in case.slots
    }
    starts["transformers"] = start(sys.executable, "transformers")
    if python:
        starts[turns.TUNIX] = start(python, turns.TUNIX)
    return starts


def report(page, name, case, workers):
    """Puts a case on the page."""
    tokens, rates = int(case.lengths.sum()), page.rates()
    products = case.flops / rates["flops"]
    mine = {label: worker for label, worker in workers.items() if "ours" in label}
    base = next(iter(mine.values())).median("cpu")
    rows = []
    for label, worker in workers.items():
        cpu, wall, memory = map(worker.median, ("cpu", "wall", "GiB"))
        rows.append(
            (
                label,
                cpu,
                f"{tokens / cpu:.0f}",
                cpu / base,
                products / cpu,
                wall,
                memory,
            )
        )
    page.say()
    page.say(f"{name}: {case.rows} responses, {tokens:,} tokens")
    heads = "CPU s", "tokens/CPU s", "times ours", "products / CPU s", "wall s", "GiB"
    page.table(("", *heads), rows)
    memory = case.read_bytes / rates["bytes"]
    page.say(
        f"What bounds {name}: the products of these tokens take {products:.3g} s at "
        f"the measured rate, and reading the parameters at each of {case.steps:,} "
        f"steps of {case.slots[0] or case.rows} slots {memory:.3g} s. Products of so "
        "few rows do not reach the rate of large ones, and drawing a token is none."
    )
    for label, worker in mine.items():
        for peer, other in workers.items():
            if peer not in mine:
                title = f"{name}, {label.removeprefix('ours, ')}"
                page.compare(title, worker.median("cpu"), other.median("cpu"), peer)
                page.compare(
                    f"{title}, memory",
                    worker.median("GiB"),
                    other.median("GiB"),
                    peer,
                    "GiB",
                )


def main(words=None):
    """Prints the tables."""
    parser = turns.arguments(__doc__)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES["full"], default=list(CASES["full"])
    )
    parser.add_argument(
        "--tunix", type=turns.interpreter, metavar="PYTHON", default=sys.executable
    )
    options = parser.parse_args(words)
    page = turns.Page("Drawing responses", options, {"--tunix": "PYTHON"})
    python = page.find_tunix(options.tunix)
    sizes = "tiny" if options.tiny else "full"
    page.say(
        f"A random Qwen2 of {QWEN2['num_hidden_layers']} layers, width "
        f"{QWEN2['hidden_size']} and {VOCABULARY:,} tokens in float32: medians of the "
        "CPU seconds of a run. Ours is given all rows at once and draws as many at a "
        f"time as it has slots; the others take batches of {BATCH[sizes]}."
    )
    page.rates()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--serve", folder], check=True)
        for name in options.cases:
            case = CASES[sizes][name]
            starts = starts_of(sizes, name, folder, python)
            workers = turns.take_turns(starts, options.turns or case.turns)
            report(page, name, case, workers)
            page.write()


def worker(words):
    """Runs in a process that `main` starts."""
    if len(words) == 1:
        return make_checkpoint(words[0])
    system, sizes, name, folder, slots = words
    slots = None if slots == "None" else int(slots)
    of = CASES[sizes][name], pathlib.Path(folder), slots
    turns.serve(lambda: SYSTEMS[system](*of))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        worker(sys.argv[2:])
    else:
        main()
