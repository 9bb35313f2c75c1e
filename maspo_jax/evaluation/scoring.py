"""Answers of a policy to held-out problems, graded."""

import numpy as np

from maspo_jax import parallel
from maspo_jax.data import pipeline
from maspo_jax.rollout.grading import grade
from maspo_jax.rollout.sampler import sample


def accuracy(
    policy, problems, verifier, *, template, tokenizer, length, decoding, mesh, key
):
    """Returns how well a policy answers problems.

    Args:
        policy: a `Decoder`.
        problems: a list of `Problem`.
        verifier: a `rewards.Verifier`.
        template: how a question is asked.
        tokenizer: reads and writes the text.
        length: of the padded prompts, in tokens.
        decoding: the `Decoding` settings, of any number of responses.
        mesh: the mesh to sample on.
        key: of the draws.

    Returns:
        A dict: `accuracy`, the mean reward over responses, and `length`, their mean
        number of tokens.
    """
    devices = mesh.size
    rows = -(-len(problems) // devices) * devices
    filled = [*problems, *[problems[-1]] * (rows - len(problems))]
    own = parallel.own_rows(rows)
    prompts = pipeline.ask(filled[own], template, tokenizer, length)
    rollout = sample(policy, parallel.spread(prompts, mesh), key, decoding, mesh)
    verdicts = grade(verifier, tokenizer, filled[own], rollout.sequences)
    reward = parallel.everyone(np.array([verdict.reward for verdict in verdicts]))
    tokens = parallel.everyone(parallel.local(rollout.sequences.mask).sum(axis=-1))
    count = len(problems) * decoding.responses
    return {
        "accuracy": float(np.mean(reward[:count])),
        "length": float(np.mean(tokens[:count])),
    }
