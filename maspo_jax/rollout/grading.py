"""From drawn tokens to verdicts: on the host, each process its own rows."""

from maspo_jax import parallel


def grade(verifier, tokenizer, problems, sequences):
    """Returns the verdict on each response of this process, in order.

    Args:
        verifier: a `rewards.Verifier`.
        tokenizer: of the responses.
        problems: those of this process, in order; each has the same number of
            neighboring responses.
        sequences: `Sequences` of all N rows, split over the processes by rows.
    """
    drawn = parallel.local((sequences.response, sequences.mask))
    texts = [tokenizer.decode(row[mask]) for row, mask in zip(*drawn, strict=True)]
    responses = len(texts) // len(problems)
    golds = [problem.answer for problem in problems for _ in range(responses)]
    return verifier.grade(texts, golds)
