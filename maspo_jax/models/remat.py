"""What of a layer stays in memory for its backward pass: policies by name.

    full       only what goes into the layer: the least memory, a forward pass more
    attention  what its attention returns, too, which takes most to compute again
    dots       what its products with parameters return: no product is made twice
    none       all that the backward pass reads: nothing is computed again

The names are those of MaxText. Whatever the policy, parameters are not kept as they
were gathered from their shards, but gathered again: all layers together are the whole
policy.
"""

import jax

ATTENTION = "attention"  # the `checkpoint_name` of what attention returns


def checkpoint(layer, name):
    """Returns a layer, to be walked by `jax.lax.scan`, that keeps what a policy says.

    Args:
        layer: a function of arrays.
        name: out of `POLICIES`.
    """
    # Two scans, so that no compiler takes the second pass for the first one.
    return jax.checkpoint(layer, prevent_cse=False, policy=POLICIES[name])


def _all_but_gathered(primitive, *_, **__):
    return primitive.name not in ("all_gather", "all_gather_invariant")


POLICIES = {
    "full": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "attention": jax.checkpoint_policies.save_only_these_names(ATTENTION),
    "none": _all_but_gathered,
}
