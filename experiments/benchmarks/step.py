"""What a whole step of GRPO costs, beside Tunix, torch and another commit.

    pip install -e ".[oracles]"
    python experiments/benchmarks/step.py --tunix PYTHON --out step.md
    python experiments/benchmarks/step.py --shapes S --before TREE

8 prompts of 32 tokens are read, 8 responses of 64 tokens to each are drawn (the end
token never is) and graded, and one AdamW update is made with all of them; Qwen3 in
float32, on one core. Ours is a run of `maspo train`, held before each step, with the
settings that suit a CPU: `remat="dots"`, microbatches of 1,536 tokens. Tunix is its
`GRPOLearner`, held where it asks for the next prompts, in microbatches of as many
tokens and whole; torch makes the update alone, with the Qwen3 of Transformers. All take
turns. The first step compiles, with nothing compiled before.

TREE is another checkout of this project, whose steps take turns with those of this one.
The packages disagree about jax: `--tunix` is the interpreter of another environment.
"""

import dataclasses
import functools
import itertools
import logging
import os
import pathlib
import statistics
import sys
import tempfile
import warnings

import turns  # beside this file

PROMPTS, RESPONSES, PROMPT, RESPONSE = 8, 8, 32, 64
MICROBATCH = 1536  # tokens
RATE = 1e-4


@dataclasses.dataclass(frozen=True)
class Shape:
    """A policy: Qwen3 with a tied head."""

    vocabulary: int
    width: int
    feed_forward: int
    query_heads: int
    depth: int = 4

    @property
    def key_value_heads(self):
        """Half as many as of queries."""
        return self.query_heads // 2

    @property
    def parameters(self):
        """How many."""
        heads = 2 * self.query_heads + 2 * self.key_value_heads
        attention = HEAD_WIDTH * (heads * self.width + 2)
        layer = attention + 3 * self.width * self.feed_forward + 2 * self.width
        return self.vocabulary * self.width + self.depth * layer + self.width

    @property
    def end(self):
        """The end token, out of the vocabulary: it is never drawn."""
        return self.vocabulary + 7

    def prompts(self, count, seed):
        """Returns texts: numbers of random tokens."""
        import numpy as np

        random = np.random.default_rng(seed)
        rows = random.integers(2, self.vocabulary, (count, PROMPT))
        return [" ".join(map(str, row)) for row in rows]


SHAPES = {
    "S": Shape(1024, 128, 384, 4),  # small: what surrounds the products counts
    "M": Shape(4096, 256, 768, 8),
    "V": Shape(32768, 256, 768, 8),  # a large vocabulary
    "deep": Shape(4096, 256, 768, 8, depth=28),
    "tiny": Shape(64, 32, 64, 2, depth=2),
    "tiny deep": Shape(64, 32, 64, 2, depth=3),
}
HEAD_WIDTH, NORM_EPSILON, ROPE_THETA = 32, 1e-6, 1_000_000


def even_share(text):
    """Returns the share of even tokens in a response."""
    words = [word for word in text.split() if word.isdecimal()]
    return sum(int(word) % 2 == 0 for word in words) / max(len(words), 1)


# Ours.

EXPERIMENT = '''
import dataclasses

import step

from maspo_jax.config import Experiment, Grading, Objective, Optimization, Sampling
from maspo_jax.config import Updates, Validation
from maspo_jax.data.sources import Problem
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates
from maspo_jax.rewards import Verdict

NAME = "{name}"
SHAPE = step.SHAPES[NAME]


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A tokenizer: tokens are written as their numbers."""

    size: int = SHAPE.vocabulary
    bos_tokens = ()
    eos_token_id = SHAPE.end
    eos_tokens = (SHAPE.end,)
    pad_token_id = 0

    def encode(self, text):
        return [int(word) for word in text.split()]

    def decode(self, tokens):
        return " ".join(map(str, tokens))

    def decode_batch(self, rows):
        return [self.decode(row) for row in rows]


@dataclasses.dataclass(frozen=True)
class Random:
    """Prompts of random tokens."""

    first: int = 0
    uniform = True

    def __len__(self):
        return 4096

    def __getitem__(self, index):
        (text,) = SHAPE.prompts(1, seed=self.first + int(index))
        return Problem(str(self.first + int(index)), text, "1")


def more_even_than_odd(response, gold):
    even = step.even_share(response) > 0.5
    return Verdict("correct" if even else "wrong", "", "even")


experiment = Experiment(
    policy=DecoderConfig(
        vocabulary=SHAPE.vocabulary,
        width=SHAPE.width,
        depth=SHAPE.depth,
        query_heads=SHAPE.query_heads,
        key_value_heads=SHAPE.key_value_heads,
        head_width=step.HEAD_WIDTH,
        feed_forward=SHAPE.feed_forward,
        rope_theta=step.ROPE_THETA,
        qk_norm=True,
        remat="dots",
    ),
    tokenizer=Numbers(),
    train_set=Random(),
    validation=Validation(Random(4096), problems=8, every=1000),
    sampling=Sampling(step.PROMPTS, step.RESPONSES, step.PROMPT, step.RESPONSE),
    objective=Objective(gate=gates.Clip()),
    optimization=Optimization(step.RATE),
    updates=Updates(minibatches=1, microbatch_tokens=step.MICROBATCH),
    grading=Grading(grader=more_even_than_odd),
    steps=1000,
    checkpoint_every=1000,
)
'''


def ours(name, tree):
    """This project, as it is in a tree: `maspo train`, held before each step."""
    import jax

    from maspo_jax.learning import loop
    from maspo_jax.learning.learner import Learner
    from maspo_jax.rollout.worker import Worker

    turns.assert_of(tree)
    line, parts = turns.Line(), turns.Parts()
    learn, collect = loop.learn, parts.timed("rollout", Worker.collect)
    assemble = parts.timed("scoring", Learner.assemble, wait=True)
    steps, watch = 0, None

    def hold():
        nonlocal watch
        if line.asked() is None:
            raise SystemExit
        parts.seconds, watch = {}, turns.Stopwatch()

    def held_learn(*arguments, **settings):
        line.say()
        hold()
        learn(*arguments, **settings)

    def held_collect(self, policy, *arguments, **settings):
        nonlocal steps
        jax.block_until_ready(policy)
        if steps:
            line.say(**watch.read(), **parts.seconds)
            hold()
        steps += 1
        return collect(self, policy, *arguments, **settings)

    loop.learn, Worker.collect, Learner.assemble = held_learn, held_collect, assemble
    loop.measure = lambda *_: None  # the peers have no validation
    with tempfile.TemporaryDirectory() as folder:
        file = write_experiment(name, folder)
        turns.run_main(["train", file, "--run", pathlib.Path(folder, "run")])


def write_experiment(name, folder):
    """Writes the experiment of a shape. Returns its file."""
    file = pathlib.Path(folder, "experiment.py")
    file.write_text(EXPERIMENT.format(name=name))
    return file


# The peers.


def tunix(name, microbatch):
    """The `GRPOLearner` of Tunix, held where it asks for prompts.

    Args:
        name: of the shape.
        microbatch: how many prompts are trained on at a time.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from tunix.models.qwen3 import model
    from tunix.rl import rl_cluster
    from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
    from tunix.rl.rollout import base_rollout

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", DeprecationWarning)
    line, shape = turns.Line(), SHAPES[name]
    config = model.ModelConfig(
        num_layers=shape.depth,
        vocab_size=shape.vocabulary,
        embed_dim=shape.width,
        hidden_dim=shape.feed_forward,
        num_heads=shape.query_heads,
        head_dim=HEAD_WIDTH,
        num_kv_heads=shape.key_value_heads,
        rope_theta=ROPE_THETA,
        norm_eps=NORM_EPSILON,
        use_tied_embedding=True,
        dtype=jnp.float32,
        param_dtype=jnp.float32,
    )
    mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), (jax.sharding.AxisType.Auto,) * 2)
    with mesh:
        policy = model.Qwen3(config, rngs=nnx.Rngs(0))
        state = nnx.state(policy)
        place = nnx.get_partition_spec(state)
        nnx.update(policy, jax.lax.with_sharding_constraint(state, place))
    roles = rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT
    sizes = "mini", "rollout_micro", "compute_logps_micro"
    cluster = rl_cluster.ClusterConfig(
        role_to_mesh=dict.fromkeys(roles, mesh),
        rollout_engine="vanilla",
        offload_to_cpu=False,
        training_config=rl_cluster.RLTrainingConfig(
            actor_optimizer=optax.adamw(RATE),
            eval_every_n_steps=10**9,
            max_steps=1000,
            train_micro_batch_size=int(microbatch),
            **{f"{size}_batch_size": PROMPTS for size in sizes},
        ),
        rollout_config=base_rollout.RolloutConfig(
            max_tokens_to_generate=RESPONSE,
            max_prompt_length=PROMPT,
            kv_cache_size=PROMPT + RESPONSE,
            temperature=1.0,
            top_p=1.0,
            top_k=None,
            eos_tokens=[shape.end],
        ),
    )
    generate = rl_cluster.RLCluster.generate

    def rollout(*arguments, **settings):
        begin = turns.cpu_seconds()
        result = generate(*arguments, **settings)
        spent["rollout"] += turns.cpu_seconds() - begin
        return result

    def batches():
        watch = None
        for seed in itertools.count():
            jax.block_until_ready(nnx.state(policy))
            line.say(**(watch.read() | spent if watch else {}))
            if line.asked() is None:
                os._exit(0)  # its threads would wait for more
            spent["rollout"], watch = 0.0, turns.Stopwatch()
            yield {"prompts": np.array(shape.prompts(PROMPTS, seed))}

    spent = {}
    rl_cluster.RLCluster.generate = rollout
    learner = GRPOLearner(
        rl_cluster=rl_cluster.RLCluster(
            actor=policy,
            reference=None,
            tokenizer=turns.Numbers(shape.end, pad=0),
            cluster_config=cluster,
        ),
        algo_config=GRPOConfig(
            num_generations=RESPONSES, num_iterations=1, beta=0.0, epsilon=0.2
        ),
        reward_fns=lambda prompts, completions, **_: [*map(even_share, completions)],
    )
    learner.train(batches())


def in_torch(name):
    """The update alone, with the Qwen3 of Transformers."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = SHAPES[name]
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.query_heads,
            num_key_value_heads=shape.key_value_heads,
            head_dim=HEAD_WIDTH,
            rms_norm_eps=NORM_EPSILON,
            tie_word_embeddings=True,
            max_position_embeddings=1024,
            pad_token_id=0,
            eos_token_id=None,
            bos_token_id=None,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    rows = PROMPTS * RESPONSES
    tokens = torch.randint(2, shape.vocabulary, (rows, PROMPT + RESPONSE))
    advantage = torch.randn(rows, 1)

    def run(_):
        logits = model(tokens, logits_to_keep=RESPONSE + 1).logits[:, :-1]
        logprob = torch.log_softmax(logits.float(), -1)
        logprob = torch.gather(logprob, 2, tokens[:, -RESPONSE:, None])[..., 0]
        ratio = torch.exp(logprob - logprob.detach())
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        optimizer.zero_grad()
        (-gain.mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    turns.serve(lambda: run)


SYSTEMS = {"ours": ours, turns.TUNIX: tunix, "torch": in_torch}
TORCH = "torch, update only"
# As many tokens as ours, and all at once, which is its default.
TUNIX_MICROBATCHES = {
    turns.TUNIX: MICROBATCH // (RESPONSES * (PROMPT + RESPONSE)),
    f"{turns.TUNIX}, whole": PROMPTS,
}


# What is measured.


def starts_of(name, options, python, folder):
    """Returns {label: a function that starts its `turns.Worker`} of a shape.

    Args:
        name: of the shape.
        options: the parsed arguments.
        python: the interpreter that has Tunix, or None.
        folder: an empty one.
    """
    trees = {"ours": turns.ROOT}
    if options.before:
        trees["before"] = options.before
    start = functools.partial(turns.Worker, sys.executable, __file__)
    starts = {
        label: functools.partial(
            start,
            "ours",
            name,
            tree.resolve(),
            env=turns.environment(pathlib.Path(folder, label), tree),
        )
        for label, tree in trees.items()
    }
    if python:
        other = functools.partial(turns.Worker, python, __file__)
        for label, prompts in TUNIX_MICROBATCHES.items():
            starts[label] = functools.partial(other, turns.TUNIX, name, str(prompts))
    return starts | {TORCH: functools.partial(start, "torch", name)}


def bounds(experiment, rates):
    """Returns the seconds that the stages of a step take at best, {stage: (s, why)}.

    No forward pass is made again then, and tokens of prompts are not scored.

    Args:
        experiment: the `Experiment`.
        rates: what `turns.Page.rates` returns.
    """
    from maspo_jax.plan import roofline
    from maspo_jax.plan.devices import CHIPS, Slice
    from maspo_jax.plan.job import Job

    policy = dataclasses.replace(experiment.policy, remat="none")
    experiment = dataclasses.replace(experiment, policy=policy)
    costs = roofline.costs(Job(experiment, Slice("one", CHIPS["h100"], 1)))
    sampling, found = experiment.sampling, {}
    head = 2 * policy.vocabulary * policy.width * sampling.prompts
    unscored = {
        "sample": 1,
        "score": sampling.responses,
        "update": 3 * sampling.responses,
    }
    for stage in costs.keys() & unscored:
        passes = unscored[stage]
        flops = costs[stage].flops - passes * head * (sampling.prompt_length - 1)
        products, memory = flops / rates["flops"], costs[stage].bytes / rates["bytes"]
        found[stage] = max((products, "products"), (memory, "memory"))
    return found


def report(page, name, workers):
    """Puts the steps of a shape on the page."""
    from maspo_jax.config import load

    with tempfile.TemporaryDirectory() as folder:
        experiment = load(write_experiment(name, folder))
    found, rows = bounds(experiment, page.rates()), []
    (drawing, why_drawing), (updating, why_updating) = found["sample"], found["update"]
    mine, floor = workers["ours"], drawing + updating
    for label, worker in workers.items():
        first, *warm = worker.runs
        of = lambda what, warm=warm: statistics.median(run[what] for run in warm)
        step, memory = of("cpu"), of("GiB")
        rollout = of("rollout") if "rollout" in warm[0] else None
        scoring = of("scoring") if "scoring" in warm[0] else None
        update = step - (rollout or 0) - (scoring or 0)
        row = label, step, rollout, scoring, update, first["cpu"], memory
        rows.append(row)
        if worker is mine:
            base = step, first["cpu"], update, memory
        elif label == TORCH:
            page.compare(f"{name}, update", base[2], step, label)
        else:
            page.compare(f"{name}, step", base[0], step, label)
            page.compare(f"{name}, first step", base[1], first["cpu"], label)
            page.compare(f"{name}, memory", base[3], memory, label, "GiB")
    rows.append(("at best", floor, drawing, None, updating, None, None))
    heads = "step", "rollout", "scoring", "update", "first step", "peak GiB"
    page.table((f"{name}, CPU s", *heads), rows)
    for label, worker in workers.items():
        if label not in ("ours", TORCH):
            times = statistics.median(run["cpu"] for run in worker.runs[1:]) / base[0]
            early = worker.runs[0]["cpu"] / base[1]
            page.say(f"{label} / ours: a step {times:.2f}, the first step {early:.2f}.")
    page.say(
        f"What bounds {name}: the rollout {why_drawing}, the update {why_updating}; "
        f"{floor / base[0]:.0%} of the time of ours at the measured rates, without "
        "scoring and without a forward pass that is made again."
    )


def main(words=None):
    """Prints the tables."""
    parser = turns.arguments(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["S", "M", "V"])
    parser.add_argument(
        "--tunix", type=turns.interpreter, metavar="PYTHON", default=sys.executable
    )
    parser.add_argument(
        "--before", type=pathlib.Path, metavar="TREE", help="another checkout"
    )
    options = parser.parse_args(words)
    hidden = {"--tunix": "PYTHON", "--before": "TREE"}
    page = turns.Page("A step of GRPO", options, hidden)
    python = page.find_tunix(options.tunix)
    shapes = ["tiny"] if options.tiny else options.shapes
    page.say(
        f"{PROMPTS} prompts of {PROMPT} tokens, {RESPONSES} responses of {RESPONSE} to "
        "each, one AdamW update, float32: medians of the CPU seconds of a step, behind "
        "the first, which compiles. What is neither rollout nor scoring counts as the "
        "update: records, and reading prompts in Tunix."
    )
    page.say()
    page.say("| shape | vocabulary | width | layers | parameters |")
    page.say("|---|--:|--:|--:|--:|")
    for name in shapes:
        shape = SHAPES[name]
        page.say(
            f"| {name} | {shape.vocabulary:,} | {shape.width} | {shape.depth} | "
            f"{shape.parameters / 1e6:.1f} M |"
        )
    page.say()
    page.rates()
    for name in shapes:
        with tempfile.TemporaryDirectory() as folder:
            starts = starts_of(name, options, python, folder)
            workers = turns.take_turns(starts, 1 + (options.turns or 5))
        report(page, name, workers)
        page.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        SYSTEMS[sys.argv[2]](*sys.argv[3:])
    else:
        main()
