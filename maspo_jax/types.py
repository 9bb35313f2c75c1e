"""The records that pass through one training step, in the order they appear.

    Prompts -> Rollout -> Response -> TrainBatch -> TrainState

Shape letters, the same in every docstring of the package:

    P  prompts per batch       G  responses per prompt     N  sequences, P * G
    L  padded prompt length    T  padded response length   V  vocabulary

Responses to one prompt are neighbors: sequence n answers prompt n // G.
Every array that leads with P or N is sharded over the mesh along that axis.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import struct


@struct.dataclass
class Prompts:
    """Questions as the policy reads them."""

    tokens: jax.Array  # [P, L] int32, left-padded
    mask: jax.Array  # [P, L] bool


@struct.dataclass
class Packing:
    """How sequences are read as packed rows: several texts in each, no padding between.

    What is known of their tokens stays as it is, one response a row; a decoder reads
    these rows instead. Each device and microbatch packs its own part of the sequences.
    """

    start: jax.Array  # [N] int32, first column of each text, through its part's rows
    microbatches: int = struct.field(pytree_node=False)  # parts of a device
    rows: int = struct.field(pytree_node=False)  # of a part
    length: int = struct.field(pytree_node=False)  # of a row


@struct.dataclass
class LengthBuckets:
    """How sequences are read in rows no wider than their part of them needs."""

    widths: tuple = struct.field(pytree_node=False)  # of rows, ascending


@struct.dataclass
class Sequences:
    """Prompts side by side with one response each, or rows packed with several texts.

    A packed row splits anywhere into `prompt` and `response`; its `response_mask` is
    true on every token to be scored.
    """

    prompt: jax.Array  # [N, L] int32, left-padded
    prompt_mask: jax.Array  # [N, L] bool
    response: jax.Array  # [N, T] int32, right-padded
    response_mask: (
        jax.Array
    )  # [N, T] bool, true on the response, its end token included
    segment: jax.Array | None = None  # [N, L + T] int32, the text in a packed row, or 0
    # How a decoder reads them; None: as they stand.
    reading: Packing | LengthBuckets | None = None


@struct.dataclass
class Rollout:
    """Responses drawn from the policy, and how likely each token was."""

    sequences: Sequences
    sampler_logprob: jax.Array  # [N, T] float32, of the distribution sampled from
    # [N] int32, the optimizer updates behind the policy that drew each response
    policy_version: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Response:
    """One response as text, and what came of it: host data, the same everywhere."""

    text: str
    # None where a question has no reference answer:
    verdict: Any  # a `rewards.Verdict`
    reward: float | None  # of the verifier, before anything is added to it
    length: int  # in tokens, its end token included
    truncated: bool  # it reached the longest length allowed without an end token


@struct.dataclass
class TrainBatch:
    """Scored responses, ready for the surrogate.

    `weight` carries the whole normalization of the loss: it is zero on padding, and
    with the default, `token_mean`, its sum over the global batch is one. The loss is
    therefore a plain sum, and splitting a batch over devices or microbatches cannot
    change it.
    """

    sequences: Sequences
    # [N, T] under the policy the ratio is anchored to; None: the one that is updated
    old_logprob: jax.Array | None
    advantage: jax.Array  # [N, T]
    weight: jax.Array  # [N, T]
    # What only some objectives need:
    loss_mask: jax.Array | None = None  # [N, T] bool, the tokens that share the weight
    correction: jax.Array | None = None  # [N, T] of the loss, to correct the sampler
    reference_logprob: jax.Array | None = None  # [N, T] under the reference policy
    correct: jax.Array | None = None  # [N] bool, correct answers
    correct_weight: jax.Array | None = None  # [N, T], the weight shared among them
    # What only the record of a step needs:
    row: jax.Array | None = None  # [N] int32, of the rollout batch of the step
    policy_version: jax.Array | None = None  # [N] int32, of the policy that drew
    # [N, T], where the first update is the first to compute the trainer's beside it
    sampler_logprob: jax.Array | None = None


@struct.dataclass
class TrainState:
    """Everything an update changes."""

    policy: Any  # a `models.decoder.Decoder`
    opt_state: Any  # of the Optax optimizer, shaped like the policy


def rows_of(prompts, responses):
    """Returns the rows of the responses to some prompts. [n] -> [n * G]."""
    return (prompts[:, None] * responses + np.arange(responses)[None]).reshape(-1)


def truncated(sequences, eos_tokens):
    """Returns which responses reached the limit without an end token. [N] bool."""
    ended = (sequences.response[:, -1:] == np.array(eos_tokens)[None]).any(axis=-1)
    return sequences.response_mask[:, -1] & ~ended


def columns_read(sequences):
    """Returns how many columns each text takes in packed rows, [N] int32.

    Nothing follows its last token, so that is not read; without a response, none is.
    """
    prompt, response = (
        mask.sum(axis=-1, dtype=np.int32)
        for mask in (sequences.prompt_mask, sequences.response_mask)
    )
    return (response > 0) * (prompt + response - 1)
