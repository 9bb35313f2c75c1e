"""Answers of a policy to problems, graded: one path for training and evaluation.

Problems --pipeline--> Prompts --sampler--> Sequences --grading--> Answer
"""

import dataclasses
import functools

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.data import pipeline
from maspo_jax.rewards import Verdict
from maspo_jax.rollout.generate import SamplingParams, sample_with_keys
from maspo_jax.rollout.grading import grade_texts, texts_of


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response, and what came of it."""

    text: str
    verdict: Verdict
    tokens: int  # its end token included
    truncated: bool  # it reached the longest length allowed without an end


@dataclasses.dataclass(frozen=True)
class Responder:
    """How problems are put to a policy, and who grades what it answers."""

    template: object  # a `data.templates.Template`
    tokenizer: object  # a `data.tokenizer.Tokenizer`
    prompt_length: int  # L
    decoding: SamplingParams
    verifier: object  # a `rewards.Verifier`
    mesh: jax.sharding.Mesh
    key: jax.Array

    def answers(self, policy, problems, number, first):
        """Returns the `Answer`s of this process, in order.

        Args:
            policy: a `Decoder`.
            problems: P of them, the same in every process; P is a multiple of the
                number of devices.
            number: [P] of each problem, and
            first: [P] of its first response: together with the key they decide what is
                drawn, whatever else is in the batch.
        """
        own = distributed.host_slice(len(problems))
        prompts = pipeline.ask(
            problems[own], self.template, self.tokenizer, self.prompt_length
        )
        rollout = draw(
            policy,
            distributed.shard_rows(prompts, self.mesh),
            self.key,
            np.asarray(number, np.uint32),
            np.asarray(first, np.uint32),
            self.decoding,
            self.mesh,
        )
        sequences = rollout.sequences
        texts = texts_of(self.tokenizer, sequences)
        verdicts = grade_texts(self.verifier, problems[own], texts)
        response, mask = distributed.local_rows(
            (sequences.response, sequences.response_mask)
        )
        cut = mask[:, -1] & ~np.isin(response[:, -1], self.decoding.eos_tokens)
        columns = texts, verdicts, mask.sum(axis=-1).tolist(), cut.tolist()
        return [Answer(*row) for row in zip(*columns, strict=True)]


def make_responder(asked, verifier, mesh, key, prompt_length, **drawn):
    """Returns the `Responder` of a policy with its own template and tokenizer.

    Args:
        asked: has them as attributes, such as an `Experiment` and a `Policy`.
        verifier: grades.
        mesh: the mesh.
        key: decides what is drawn.
        prompt_length: L, in tokens.
        **drawn: the other fields of `SamplingParams`.
    """
    eos_tokens, pad = asked.tokenizer.eos_tokens, asked.tokenizer.pad_token_id
    decoding = SamplingParams(eos_tokens=eos_tokens, pad=pad, **drawn)
    template, tokenizer = asked.template, asked.tokenizer
    return Responder(template, tokenizer, prompt_length, decoding, verifier, mesh, key)


@functools.partial(jax.jit, static_argnames=("decoding", "mesh"))
def draw(policy, prompts, key, number, first, decoding, mesh):
    """Draws responses that depend on problem and response, not on the batch.

    Args:
        policy: a `Decoder`.
        prompts: `Prompts` of P rows, split by rows over `mesh`.
        key: response j to the problem with number i draws its token t with `key`
            folded with i, with j and with t.
        number: [P] uint32.
        first: [P] uint32; the G responses to a prompt are `first`, `first` + 1, ...
        decoding: the `SamplingParams` settings.
        mesh: the mesh.
    """
    which = jax.numpy.arange(decoding.responses, dtype=jax.numpy.uint32)
    fold = lambda i, j: jax.random.fold_in(jax.random.fold_in(key, i), j)
    of_prompt = jax.vmap(lambda i, j: jax.vmap(lambda extra: fold(i, j + extra))(which))
    keys = of_prompt(number, first).reshape(-1)
    return sample_with_keys(policy, prompts, keys, decoding, mesh)


def accuracy(responder, policy, problems):
    """Returns how well a policy answers problems.

    Args:
        responder: the `Responder`, of any number of responses.
        policy: a `Decoder`.
        problems: a list of `Problem`.

    Returns:
        A dict: `accuracy`, the mean reward over responses, and `length`, their mean
        number of tokens.
    """
    devices = responder.mesh.size
    rows = -(-len(problems) // devices) * devices
    filled = [*problems, *[problems[-1]] * (rows - len(problems))]
    answers = responder.answers(policy, filled, np.arange(rows), np.zeros(rows))
    reward = distributed.all_gather_hosts(
        np.array([answer.verdict.reward for answer in answers])
    )
    tokens = distributed.all_gather_hosts(
        np.array([answer.tokens for answer in answers])
    )
    count = len(problems) * responder.decoding.responses
    return {
        "accuracy": float(np.mean(reward[:count])),
        "length": float(np.mean(tokens[:count])),
    }
