"""What log-probabilities of tokens cost over a large vocabulary, forward and backward.

    pip install -e ".[oracles]"
    python experiments/benchmarks/logprobs.py --out experiments/results/logprobs.md

Beside `log_softmax` and a gather, in JAX and in torch, at 4,096 positions of width 256
and a vocabulary of 151,936, in float32. The objective is a clipped ratio; its gradients
are those of the hidden states and of the head. With entropy, a bonus for it is added.

A process holds one system, since the logits of the peers fill the memory: each turn
starts it, lets it run once, and times the next run.
"""

import dataclasses
import sys

import numpy as np
import turns  # beside this file

ENTROPY = 0.01  # the coefficient of the bonus
CLIP = 0.8, 1.2


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is scored."""

    positions: int
    width: int
    vocabulary: int

    def arrays(self):
        """Returns hidden states, head, tokens, old log-probabilities, advantages."""
        random = np.random.default_rng(0)
        normal = lambda *shape: random.standard_normal(shape, np.float32)
        count = self.positions
        return (
            normal(count, self.width),
            0.06 * normal(self.vocabulary, self.width),
            random.integers(0, self.vocabulary, count).astype(np.int32),
            np.full(count, -np.log(self.vocabulary), np.float32),
            normal(count),
        )

    @property
    def flops(self):
        """Of the least products: the logits, and the gradients of both factors."""
        return 3 * 2 * self.positions * self.width * self.vocabulary

    def __str__(self):
        return f"{self.positions:,} x {self.width} x {self.vocabulary:,}"


SHAPES = {"full": Shape(4096, 256, 151936), "tiny": Shape(64, 16, 1000)}
CASES = ("with entropy", "without entropy")


def in_jax(score, shape, entropy):
    """Returns a function that computes loss and gradients, and what it measures."""
    import jax
    import jax.numpy as jnp

    from maspo_jax.learning.run import keep_freed_memory

    keep_freed_memory()  # as a training run does

    def objective(hidden, head, token, old, advantage):
        logprob, surprise = score(hidden, head, token, entropy)
        ratio = jnp.exp(logprob - old)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, *CLIP) * advantage)
        bonus = ENTROPY * jnp.mean(surprise) if entropy else 0.0
        return -jnp.mean(gain) - bonus

    arrays = [jnp.asarray(array) for array in shape.arrays()]
    gradients = jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))
    program = gradients.lower(*arrays).compile()
    temporary = program.memory_analysis().temp_size_in_bytes / 2**30

    def run(_):
        loss, _ = jax.block_until_ready(program(*arrays))
        return {"loss": float(loss), "temporary": temporary}

    return run


def ours(shape, entropy):
    """This project: `rollout.logprobs.token_logprobs`."""
    from maspo_jax.rollout.logprobs import token_logprobs

    return in_jax(lambda *of: token_logprobs(*of[:3]), shape, entropy)


def log_softmax(shape, entropy):
    """`jax.nn.log_softmax` and a gather."""
    import jax
    import jax.numpy as jnp

    def score(hidden, head, token, entropy):
        logprob = jax.nn.log_softmax(hidden @ head.T, axis=-1)
        chosen = jnp.take_along_axis(logprob, token[:, None], axis=-1)[:, 0]
        return chosen, -jnp.sum(jnp.exp(logprob) * logprob, axis=-1) if entropy else 0

    return in_jax(score, shape, entropy)


def in_torch(shape, entropy):
    """`torch.log_softmax` and a gather."""
    import torch

    torch.set_num_threads(1)
    hidden, head, token, old, advantage = map(torch.tensor, shape.arrays())
    hidden.requires_grad_(), head.requires_grad_()
    token = token[:, None].long()

    def run(_):
        hidden.grad = head.grad = None
        logprob = torch.log_softmax(hidden @ head.T, -1)
        ratio = torch.exp(logprob.gather(-1, token)[:, 0] - old)
        gain = torch.minimum(ratio * advantage, ratio.clamp(*CLIP) * advantage)
        loss = -gain.mean()
        if entropy:
            loss = loss + ENTROPY * (logprob.exp() * logprob).sum(-1).mean()
        loss.backward()
        return {"loss": loss.item()}

    return run


SYSTEMS = {"ours": ours, "log_softmax + gather": log_softmax, "torch": in_torch}


def measure(sizes, case, count):
    """Returns {system: `Worker`} of a case, after their turns."""
    workers = {}
    for number in range(1, count + 1):
        for name in turns.in_turn(SYSTEMS, number):
            before = workers[name].runs if number > 1 else ()
            worker = turns.Worker(
                sys.executable, __file__, name, sizes, case, runs=before
            )
            worker.turn(number)
            worker.end()
            workers[name] = worker
    losses = {name: worker.runs[0]["loss"] for name, worker in workers.items()}
    if not np.allclose(list(losses.values()), losses["ours"], rtol=1e-4):
        raise SystemExit(f"{case}: the losses are not the same: {losses}")
    return {name: workers[name] for name in SYSTEMS}


def report(page, shape, case, workers):
    """Puts a case on the page."""
    mine, floor = workers["ours"], shape.flops / page.rates()["flops"]
    rows = []
    for name, worker in workers.items():
        spent, memory = worker.median("cpu"), worker.median("GiB")
        temporary = worker.runs[0].get("temporary")
        share = spent / mine.median("cpu")
        rows.append((name, spent, share, floor / spent, temporary, memory))
        if worker is not mine:
            page.compare(f"{case}, time", mine.median("cpu"), spent, name)
        if worker is not mine and temporary:
            least = mine.runs[0]["temporary"]
            page.compare(f"{case}, temporary memory", least, temporary, name, "GiB")
    heads = "CPU s", "times ours", "floor / CPU s", "temporary GiB", "peak GiB"
    page.table((case, *heads), rows)
    return floor


def main(words=None):
    """Prints the tables."""
    options = turns.arguments(__doc__).parse_args(words)
    page = turns.Page(
        "Log-probabilities over a large vocabulary", options, packages=("jax", "torch")
    )
    sizes = "tiny" if options.tiny else "full"
    shape = SHAPES[sizes]
    page.say(
        f"Log-probability of a token at each position, and its gradients, {shape} in "
        "float32: medians of the CPU seconds of a run. Temporary memory is what the "
        "compiler says the program holds beside its arguments and results."
    )
    page.rates()
    for case in CASES:
        workers = measure(sizes, case, options.turns or 3)
        floor = report(page, shape, case, workers)
        page.write()
    page.say(
        f"What bounds it: three products of {shape}, of the logits and of the two "
        f"gradients, take {floor:.3g} s at the measured rate, the floor. Ours computes "
        f"the logits again going back, a fourth, {floor / 3:.2g} s more; what is left "
        f"of its time are exponentials of {shape.positions:,} x "
        f"{shape.vocabulary:,} scores and passes over a slice of them. The others "
        "write and read all of the scores several times, and wait for memory."
    )
    page.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        name, sizes, case = sys.argv[2:]

        def warmed():
            """Returns the system after a run that does not count."""
            run = SYSTEMS[name](SHAPES[sizes], case == CASES[0])
            run(0)
            return run

        turns.serve(warmed)
    else:
        main()
