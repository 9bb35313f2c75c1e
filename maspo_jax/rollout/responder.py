"""Responses of a policy to problems, graded: one path for validation and evaluation.

Problems --render--> Prompts --sampler--> Sequences --grading--> Response
"""

import dataclasses
import functools

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.data.prompts.render import render_prompts
from maspo_jax.rollout.batching import BATCH, plan_batches
from maspo_jax.rollout.generate import SamplingParams, sample_with_keys
from maspo_jax.rollout.grading import grade_responses
from maspo_jax.rollout.weights import copy_for_sampling


@dataclasses.dataclass(frozen=True)
class Responder:
    """How problems are put to a policy, and who grades how it responds."""

    template: object  # a `data.prompts.Template`
    tokenizer: object  # a `data.prompts.Tokenizer`
    prompt_length: int  # L
    decoding: SamplingParams
    verifier: object  # a `rewards.Verifier`
    mesh: jax.sharding.Mesh
    key: jax.Array

    def respond(self, policy, problems, number, first):
        """Returns a list of the `Response`s of this process, in order.

        Args:
            policy: a `Decoder`.
            problems: P of them, the same in every process; P is a multiple of the
                number of devices.
            number: [P] of each problem, and
            first: [P] of its first response: together with the key they decide what is
                drawn, whatever else is in the batch.
        """
        own = distributed.host_slice(len(problems))
        prompts = render_prompts(
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
        sequences = distributed.local_rows(rollout.sequences)
        return grade_responses(
            self.verifier,
            self.tokenizer,
            problems[own],
            sequences,
            self.decoding.eos_tokens,
        )


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


def accuracy(responder, policy, problems, batch=BATCH):
    """Returns how well a policy answers problems.

    Args:
        responder: the `Responder`; each problem is put to the policy as often as it
            draws responses.
        policy: a `Decoder`.
        problems: a list of `Problem`.
        batch: the most responses drawn at a time, but one for each device if there are
            more of these. It changes nothing that is drawn.

    Returns:
        A dict: `accuracy`, the share of responses that are correct, `reward`, their
        mean reward, which differs where a grader gives partial credit, and
        `response_length/mean`, their mean number of tokens.
    """
    devices, samples = responder.mesh.size, responder.decoding.responses
    plan = plan_batches(len(problems), samples, max(batch, devices), devices)
    gather = responder.decoding.gather
    policy = copy_for_sampling(policy, responder.mesh, gather)
    decoding = dataclasses.replace(responder.decoding, responses=plan.responses)
    responder = dataclasses.replace(responder, decoding=decoding)
    total, rows = len(problems) * samples, []
    for start in range(0, total, plan.prompts * plan.responses):
        number, first = plan.batch(start)
        asked = [problems[index] for index in number]
        drawn = responder.respond(policy, asked, number, first)
        rows.append(distributed.all_gather_hosts(score_table(drawn)))
    return averages(np.concatenate(rows)[:total])  # without what filled the last batch


def score_table(responses):
    """Returns whether each response is correct, its reward and its length, [n, 3]."""
    correct = [response.verdict.outcome == "correct" for response in responses]
    numbers = [(response.reward, response.length) for response in responses]
    return np.column_stack([correct, numbers])


def averages(table):
    """Returns what `accuracy` does of all rows of `score_table`, [n, 3]."""
    correct, reward, length = table.T
    return {
        "accuracy": float(np.mean(correct)),
        "reward": float(np.mean(reward)),
        "response_length/mean": float(np.mean(length)),
    }
