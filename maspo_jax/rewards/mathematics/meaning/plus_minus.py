"""Plus-minus is two values: what an answer says with it, said without."""

import functools

from maspo_jax.rewards.mathematics.language import expression as ex


def expanded(node):
    """Returns a tree without plus-minus: a list of the two values instead."""
    if isinstance(node, ex.Items | ex.Braces):
        if not _has_sign(node):
            return node
        items = []
        for item in node.items:
            item = expanded(item)
            items.extend(item.items if isinstance(item, ex.Items) else (item,))
        if isinstance(node, ex.Braces):
            return ex.Braces(tuple(items))
        return ex.Items(tuple(items), ("and",) * (len(items) - 1))
    if isinstance(node, ex.Relation):
        if _has_sign(node) and not any(map(_has_sign, node.sides[:-1])):
            return ex.Relation(node.ops, (*node.sides[:-1], expanded(node.sides[-1])))
    if not _has_sign(node):
        return node
    return ex.Items((_with_sign(node, 1), _with_sign(node, -1)), ("or",))


@functools.lru_cache(maxsize=1024)
def _has_sign(node):
    return any(isinstance(below, ex.PlusMinus) for below in ex.walk(node))


def _with_sign(node, sign):
    if isinstance(node, ex.PlusMinus):
        value = _with_sign(node.arg, sign)
        return value if node.sign == sign else ex.negated(value)
    return ex.rebuilt(node, lambda below: _with_sign(below, sign))
