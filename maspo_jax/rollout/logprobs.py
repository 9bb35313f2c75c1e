"""Log-probabilities of given responses, without ever holding all the logits.

The scores of all tokens at all positions, [N, T, V], are the largest array of a
naive implementation by far. Here they exist for a slice of the vocabulary at a
time, in the forward and in the backward pass.
"""

import functools

import jax
import jax.numpy as jnp

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.attention import layout_of_mask, layout_of_segments
from maspo_jax.models.precision import precision_of
from maspo_jax.rollout import packed_rows
from maspo_jax.types import LengthBuckets, Packing, columns_read

SCORES_PER_CHUNK = 2**25  # 128 MiB of float32


def response_logprobs(policy, sequences, temperature, unshard=lambda block: block):
    """Returns how likely each response token is, given all tokens before it.

    Args:
        policy: a `Decoder`, whole but for what `unshard` completes.
        sequences: `Sequences` of N rows.
        temperature: divides the logits, as it did in the sampler.
        unshard: passed on to the decoder.

    Returns:
        The log-probability of each response token and the entropy of the
        distribution it comes from, both [N, T] float32 and zero on padding.
    """
    if isinstance(sequences.reading, Packing):
        how = sequences.reading
        rows = packed_rows.pack(sequences, how.start, how.rows, how.length)
        return packed_logprobs(
            policy, sequences, rows, rows.layout, temperature, unshard
        )
    if isinstance(sequences.reading, LengthBuckets):
        return bucketed_logprobs(policy, sequences, temperature, unshard)
    tokens = jnp.concatenate([sequences.prompt, sequences.response], axis=-1)
    tokens = tokens[:, :-1]  # nothing follows the last one
    if sequences.segment is None:
        mask = jnp.concatenate(
            [sequences.prompt_mask, sequences.response_mask], axis=-1
        )
        layout = layout_of_mask(mask[:, :-1])
    else:
        layout = layout_of_segments(sequences.segment[:, :-1])
    hidden, _ = policy(tokens, layout, unshard=unshard)
    hidden = hidden[:, sequences.prompt.shape[-1] - 1 :]
    shape = sequences.response.shape
    logprob, entropy = token_logprobs(
        hidden.reshape(-1, hidden.shape[-1]),
        policy.head_matrix(),
        sequences.response.reshape(-1),
        temperature,
    )
    keep = lambda x: jnp.where(sequences.response_mask, x.reshape(shape), 0)
    return keep(logprob), keep(entropy)


def packed_logprobs(policy, sequences, rows, layout, temperature, unshard):
    """Returns what `response_logprobs` does, of sequences that are read in other rows.

    Args:
        policy: a `Decoder`, as there.
        sequences: `Sequences` of n rows.
        rows: their `PackedRows`.
        layout: the `RowLayout` of these.
        temperature: divides the logits.
        unshard: passed on to the decoder.
    """
    hidden, _ = policy(rows.tokens, layout, unshard=unshard)
    hidden = hidden.reshape(-1, hidden.shape[-1])
    mask, token, place = sequences.response_mask, sequences.response, rows.place
    score = lambda hidden, token: token_logprobs(
        hidden, policy.head_matrix(), token, temperature
    )
    if len(hidden) <= mask.size:  # the fewer are scored
        token = packed_rows.scatter(token, place, len(hidden))
        found = [packed_rows.gather(x, place) for x in score(hidden, token)]
    else:
        hidden = packed_rows.gather(hidden, place.reshape(-1))
        found = [x.reshape(mask.shape) for x in score(hidden, token.reshape(-1))]
    return tuple(jnp.where(mask, x, 0) for x in found)


def bucketed_logprobs(policy, sequences, temperature, unshard):
    """Returns what `response_logprobs` does, reading no more columns than needed.

    Rows begin with their first token and are cut to the least width of the buckets
    that the longest of them fits, on all devices of the mesh that is manual here.

    Args:
        policy: a `Decoder`, as there.
        sequences: `Sequences` of n rows, with their `LengthBuckets`.
        temperature: divides the logits.
        unshard: passed on to the decoder.
    """
    count, widths = len(sequences.response), sequences.reading.widths

    def of_width(width):
        def read(sequences):
            start = width * jnp.arange(count, dtype=jnp.int32)
            rows = packed_rows.pack(sequences, start, count, width)
            return packed_logprobs(
                policy, sequences, rows, rows.layout_of_one, temperature, unshard
            )

        return read

    longest = jnp.max(columns_read(sequences))
    axes = tuple(jax.typeof(longest).manual_axis_type.varying)
    if axes:  # devices take the same branch: they gather parameters together in it
        longest = jax.lax.pmax(longest, axes)
    bucket = jnp.searchsorted(jnp.array(widths), longest)
    return jax.lax.switch(bucket, [of_width(width) for width in widths], sequences)


def sharded_logprobs(policy, sequences, specs, temperature):
    """Returns what `response_logprobs` does for a policy in shards, per device.

    Args:
        policy: a `Decoder` of shards; gathered where it is used, a layer at a time.
        sequences: `Sequences`, the rows of this device.
        specs: the `PartitionSpec` of every leaf of the policy.
        temperature: divides the logits.
    """
    dtype = policy.config.product_dtype
    stem, layer = sharding.stem_specs(specs), sharding.layer_specs(specs)

    gather = functools.partial(distributed.all_gather_params, dtype=dtype)
    unshard = lambda block: gather(block, layer)
    whole = gather(policy, stem)
    return response_logprobs(whole, sequences, temperature, unshard)


def token_logprobs(hidden, matrix, token, temperature=1.0, columns=None):
    """Returns the log-probability of one token per position, and the entropy.

    All sums and both results are float32, whatever the dtype of the inputs.

    Args:
        hidden: [M, D], the hidden state at each position.
        matrix: [V, D], the head.
        token: [M] int32.
        temperature: divides the logits.
        columns: tokens of the vocabulary scored at a time; by default as many as
            `SCORES_PER_CHUNK` allows.

    Returns:
        The log-probability of `token`, [M], and the entropy, [M], in nats.
    """
    vocabulary = matrix.shape[0]
    if columns is None:
        columns = max(SCORES_PER_CHUNK // hidden.shape[0], 128)
    chunks = -(-vocabulary // min(columns, vocabulary))
    return _scores(hidden, matrix, token, temperature, chunks)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _scores(hidden, matrix, token, temperature, chunks):
    return _forward(hidden, matrix, token, temperature, chunks)[0]


def _slices(matrix, chunks):
    """Splits the vocabulary. [V, D] -> [chunks, columns, D] and first tokens."""
    columns = -(-matrix.shape[0] // chunks)
    padding = chunks * columns - matrix.shape[0]
    slices = jnp.pad(matrix, ((0, padding), (0, 0)))
    return slices.reshape(chunks, columns, -1), jnp.arange(chunks) * columns


def _logits(hidden, piece, first, vocabulary, temperature):
    """Scores one slice of the vocabulary; what pads it scores minus infinity."""
    score = jnp.einsum(
        "md,cd->mc",
        hidden,
        piece,
        precision=precision_of(hidden.dtype),
        preferred_element_type=jnp.float32,
    )
    real = first + jnp.arange(piece.shape[0]) < vocabulary
    return jnp.where(real[None], score / temperature, -jnp.inf)


def _forward(hidden, matrix, token, temperature, chunks):
    def score(_, piece_and_first):
        piece, first = piece_and_first
        logits = _logits(hidden, piece, first, matrix.shape[0], temperature)
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        logprob = logits - normalizer[:, None]
        share = jnp.exp(logprob)
        surprise = -jnp.sum(jnp.where(share > 0, share * logprob, 0), axis=-1)
        place = token - first
        inside = (place >= 0) & (place < piece.shape[0])
        safe = jnp.where(inside, place, 0)[:, None]
        chosen = jnp.take_along_axis(logits, safe, axis=-1)[:, 0]
        return None, (normalizer, surprise, jnp.where(inside, chosen, 0))

    slices = _slices(matrix, chunks)
    _, (normalizers, surprises, chosen) = jax.lax.scan(score, None, slices)
    normalizer = jax.nn.logsumexp(normalizers, axis=0)
    # The entropy of which slice, plus the mean entropy within slices.
    logprob = normalizers - normalizer[None]
    entropy = jnp.sum(jnp.exp(logprob) * (surprises - logprob), axis=0)
    residuals = hidden, matrix, token, normalizer, entropy
    return (jnp.sum(chosen, axis=0) - normalizer, entropy), residuals


def _backward(temperature, chunks, residuals, cotangents):
    hidden, matrix, token, normalizer, entropy = residuals
    for_logprob, for_entropy = (cotangent[:, None] for cotangent in cotangents)
    wide, precision = hidden.astype(jnp.float32), precision_of(hidden.dtype)

    def score(total, piece_and_first):
        piece, first = piece_and_first
        logits = _logits(hidden, piece, first, matrix.shape[0], temperature)
        logprob = logits - normalizer[:, None]
        share = jnp.exp(logprob)
        surprise = jnp.where(share > 0, logprob + entropy[:, None], 0)
        chosen = (token - first)[:, None] == jnp.arange(piece.shape[0])[None]
        change = for_logprob * (chosen - share) - for_entropy * share * surprise
        change = change / temperature
        total += jnp.matmul(change, piece.astype(jnp.float32), precision=precision)
        return total, jnp.einsum("mc,md->cd", change, wide, precision=precision)

    slices = _slices(matrix, chunks)
    total, pieces = jax.lax.scan(score, jnp.zeros_like(wide), slices)
    by_matrix = pieces.reshape(-1, matrix.shape[1])[: matrix.shape[0]]
    return total.astype(hidden.dtype), by_matrix.astype(matrix.dtype), None


_scores.defvjp(_forward, _backward)
