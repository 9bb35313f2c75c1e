"""A tree of tokens whose expected return and true gradient are computed exactly.

A response is a path of D tokens from the root to a leaf; a table holds the B logits
of each node. With a depth of one the tree is a softmax bandit. Training draws
responses and grades them as a real run does, with the surrogate, the advantages and
the token weights of `objectives`; what is reported is exact, by summing over leaves.

Ratios leave one because a batch is used for several updates and because the policy
that draws may be older than the one that learns. Errors of the verifier make the
lesson of a batch wrong now and then: without staleness or such errors, large updates
would never be punished here.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.advantages import group_normalized
from maspo_jax.objectives.surrogate import surrogate
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.types import TrainBatch


@dataclasses.dataclass(frozen=True)
class Tree:
    """What can be said, and how it is learned. The first leaf is the right answer."""

    branching: int = 4  # B, tokens at each node
    depth: int = 3  # D, tokens of a response
    prompts: int = 4  # P, groups per batch; all of the same question
    responses: int = 8  # G, per group
    updates: int = 8  # per batch, each on the whole batch
    staleness: int = 0  # batches between the policy that draws and the one that learns
    steps: int = 60  # batches

    @property
    def nodes(self):
        """How many nodes have tokens to choose from."""
        return sum(self.branching**level for level in range(self.depth))


@struct.dataclass
class Regime:
    """How hard it is. Numbers may be arrays, for a sweep with `jax.vmap`."""

    learning_rate: float = 1.0  # of plain gradient ascent on the logits
    rarity: float = 0.05  # probability of the right answer at the start
    noise: float = 0.0  # probability that the verifier says the opposite


@struct.dataclass
class Record:
    """What is known exactly after each batch."""

    accuracy: jax.Array  # [steps], the expected return
    entropy: jax.Array  # [steps], of the distribution over leaves, in nats
    alignment: jax.Array  # [steps], cosine of the first update and the true gradient
    distance: jax.Array  # [steps], largest |log-ratio| in the last update, in nats


def initial_logits(tree, rarity):
    """Returns logits, [nodes, B], that give the right answer this probability."""
    right = rarity ** (1 / tree.depth)
    others = jnp.log((1 - right) / (tree.branching - 1))
    logits = jnp.full((tree.nodes, tree.branching), others)
    return logits.at[:, 0].set(jnp.log(right))


def leaf_probabilities(tree, logits):
    """Returns the probability of every leaf, [B^D], in order."""
    policy = jax.nn.softmax(logits, axis=-1)
    reach, first = jnp.ones(1), 0
    for level in range(tree.depth):
        here = policy[first : first + tree.branching**level]
        reach, first = (reach[:, None] * here).reshape(-1), first + len(here)
    return reach


def accuracy(tree, logits):
    """Returns the expected return: the probability of the right answer, exactly."""
    return leaf_probabilities(tree, logits)[0]


def entropy(tree, logits):
    """Returns the entropy of the distribution over leaves, in nats, exactly."""
    return jnp.sum(jax.scipy.special.entr(leaf_probabilities(tree, logits)))


def draw(key, tree, logits, responses):
    """Returns the nodes visited and the tokens chosen there, [responses, D] each."""

    def choose(node, key):
        token = jax.random.categorical(key, logits[node], axis=-1)
        return node * tree.branching + token + 1, (node, token)

    root = jnp.zeros(responses, jnp.int32)
    _, path = jax.lax.scan(choose, root, jax.random.split(key, tree.depth))
    return jax.tree.map(jnp.transpose, path)


def path_logprobs(logits, nodes, tokens):
    """Returns the log-probability of each token. [N, D]."""
    return jax.nn.log_softmax(logits, axis=-1)[nodes, tokens]


def run(key, gate, regime, tree):
    """Trains a policy on a tree with one gate.

    Args:
        key: of the draws and of the verifier's errors; `jax.vmap` over keys is a
            study over seeds.
        gate: from `objectives.gates`.
        regime: the `Regime`.
        tree: the `Tree`, static.

    Returns:
        The `Record`.
    """
    start = initial_logits(tree, regime.rarity)
    past = jnp.broadcast_to(start, (tree.staleness + 1, *start.shape))

    def step(past, key):
        logits = past[-1]
        batch, score = _collect(key, tree, past[0], regime.noise)
        loss = lambda logits: surrogate(score(logits), batch, gate)[0]

        def ascend(logits, _):
            push = -jax.grad(loss)(logits)
            return logits + regime.learning_rate * push, push

        learned, pushes = jax.lax.scan(ascend, logits, length=tree.updates)
        truth = jax.grad(accuracy, 1)(tree, logits)
        moved = jnp.max(jnp.abs(score(learned) - batch.old_logprob))
        record = Record(
            accuracy(tree, learned),
            entropy(tree, learned),
            _cosine(pushes[0], truth),
            moved,
        )
        return jnp.concatenate([past[1:], learned[None]]), record

    return jax.lax.scan(step, past, jax.random.split(key, tree.steps))[1]


def _collect(key, tree, logits, noise):
    """Draws and grades a batch. Returns it, and the function that scores it."""
    for_draw, for_noise = jax.random.split(key)
    responses = tree.prompts * tree.responses
    nodes, tokens = draw(for_draw, tree, logits, responses)
    right = jnp.all(tokens == 0, axis=-1)
    wrong = jax.random.bernoulli(for_noise, noise, (responses,))
    reward = (right ^ wrong).astype(jnp.float32).reshape(tree.prompts, -1)
    mask = jnp.ones(tokens.shape, bool)
    score = lambda logits: path_logprobs(logits, nodes, tokens)
    batch = TrainBatch(
        None, score(logits), group_normalized(reward, mask), token_mean(mask)
    )
    return batch, score


def _cosine(a, b):
    norm = jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))
    return jnp.sum(a * b) / jnp.where(norm > 0, norm, 1)


def push(gate, q, advantage, learning_rate, updates, share=None):
    """Returns how one token's probability moves as a batch is used again and again.

    One token against all others: a softmax bandit of two arms.

    Args:
        gate: from `objectives.gates`.
        q: probability of the token when the batch was drawn.
        advantage: of the token; that of all others is zero.
        learning_rate: of plain gradient ascent on the token's logit.
        updates: how many.
        share: of the batch that is this token; q, and with it the expected gradient
            and no randomness, if it is not given.

    Returns:
        Its probability before and after each update, [updates + 1].
    """
    one = lambda value: jnp.full((1, 1), value, jnp.float32)
    weight = one(q if share is None else share)
    batch = TrainBatch(None, jnp.log(one(q)), one(advantage), weight)
    loss = lambda logit: surrogate(jax.nn.log_sigmoid(logit), batch, gate)[0]

    def ascend(logit, _):
        return logit - learning_rate * jax.grad(loss)(logit), logit

    start = jnp.log(one(q)) - jnp.log1p(-one(q))
    logit, before = jax.lax.scan(ascend, start, length=updates)
    return jax.nn.sigmoid(jnp.concatenate([before, logit[None]]))[:, 0, 0]
