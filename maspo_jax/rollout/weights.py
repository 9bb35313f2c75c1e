"""The policy as the sampler holds it: in the dtype of matrix products."""

from maspo_jax.models.precision import cast


def cast_for_sampling(policy):
    """Returns a copy of a policy in the dtype that its products are computed in.

    The update casts each layer where it gathers it; decoding reads all of them at
    every token, so they are cast once. The policy itself if it is in that dtype.

    Args:
        policy: a `Decoder`, laid out in any way; the copy is laid out as it is.
    """
    return cast(policy, policy.config.product_dtype)
