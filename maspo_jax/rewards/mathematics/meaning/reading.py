"""What an expression says, as an answer: a value, a list, a region, a statement.

    tree -> expand plus-minus -> name = value | region | equation | list | ...

The tree records how an answer is written, this module what it means: `x = 5` is
the value 5 named x, `0 <= x < 1` and `[0, 1)` are one region, `x = 1 or x = 2`
is a list of two values of x.
"""

import functools
from fractions import Fraction

from maspo_jax.rewards.mathematics.algebra import balls, normal
from maspo_jax.rewards.mathematics.algebra.values import VALUES
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import lexicon, literals, units
from maspo_jax.rewards.mathematics.language.parser import parse
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import regions
from maspo_jax.rewards.mathematics.meaning.meanings import (
    Approximate,
    Equation,
    Many,
    Named,
)
from maspo_jax.rewards.mathematics.meaning.regions import Region

MOST_MEMBERS = 64


_PHRASES = {
    "all real numbers": ex.Const("field R"),
    "all reals": ex.Const("field R"),
    "real numbers": ex.Const("field R"),
    "infinity": ex.Const("infty"),
    "empty set": ex.Const("emptyset"),
    "the empty set": ex.Const("emptyset"),
}


@functools.lru_cache(maxsize=1024)
def read_meaning(text):
    """Returns the meaning of a text, or raises `Unreadable`."""
    return meaning(_expanded(parse(text)))


def meaning(node):
    """Returns the meaning of a tree without plus-minus."""
    match node:
        case ex.Items(
            items=(ex.Relation(ops=("!=",), sides=(left, _)) as first, *others)
        ) if others and not any(isinstance(o, ex.Relation) for o in others):
            excluded = [ex.Relation(("!=",), (left, other)) for other in others]
            return _list([meaning(one) for one in (first, *excluded)], ("and",))
        case ex.Items():
            return _compound(node) or _list(list(map(meaning, node.items)), node.links)
        case ex.Braces():
            members = [meaning(item) for item in node.items]
            return Many(None, _members(members), True)
        case ex.Relation():
            return _relation(node)
        case ex.Builder():
            return _builder(node)
        case ex.SetOp():
            return _set_operation(node)
        case ex.Text():
            return _PHRASES.get(" ".join(node.words).lower(), node)
        case ex.Quantity(value=value, words=words):
            return _quantity(value, words)
        case ex.Mul():
            return _scaled_matrix(node)
        case ex.Pow(base=base, exponent=ex.Sym("T")):
            return _transposed(base) or node
        case ex.Add(terms=(first, ex.Mul(factors=(ex.MINUS_ONE, ex.Braces() as rest)))):
            return _set_operation(ex.SetOp("setminus", first, rest))
    return node


def _quantity(value, words):
    phrase = " ".join(words).lower()
    if phrase in ("percent", "per cent", "pct", "percents"):
        return ex.Percent(value)
    if words[0].lower() == "percent":  # 30 percent of the girls
        return ex.Quantity(ex.Percent(value), words[1:])
    if phrase in ("degrees", "degree"):
        return ex.Degrees(value)
    if _calculates(phrase.split()) and units.unit_of(words) is None:
        raise Unreadable(f"a value that is {phrase!r}")
    scale, words = _scale(words)
    if scale != 1:
        value = ex.Mul((value, ex.Num(scale)))
    inner = meaning(value)
    if isinstance(inner, Many):
        members = tuple(ex.Quantity(member, words) for member in inner.members)
        return Many(inner.name, members, inner.braces)
    return ex.Quantity(inner, words) if words else inner


def _calculates(words):
    """Whether words change the value before them: squared, times two, thirds of it."""
    if not lexicon.ARITHMETIC.isdisjoint(words):
        return True
    first, *rest = words
    if first == "times":  # 3 times, 3 times as likely
        return bool(rest) and rest[0] in lexicon.NUMBERS
    changes = first in lexicon.PARTS or first in lexicon.NUMBERS
    return changes and (not rest or rest[0] == "of")


def _scale(words):
    """Returns what the words behind a value multiply it by, and the other words.

    They stand first, or behind a currency that stands before its value: $5 million.
    """
    begin = 1 if units.is_money(words[0]) else 0
    scale, end = Fraction(1), begin
    while end < len(words):
        size = lexicon.SCALES.get(words[end].lower().removesuffix("s"))
        if size is None:
            break
        scale, end = scale * size, end + 1
    return scale, words[:begin] + words[end:]


# Plus-minus: two values.


def _expanded(node):
    """Returns a tree without plus-minus: a list of the two values instead."""
    if isinstance(node, ex.Items | ex.Braces):
        if not _has_sign(node):
            return node
        items = []
        for item in node.items:
            item = _expanded(item)
            items.extend(item.items if isinstance(item, ex.Items) else (item,))
        if isinstance(node, ex.Braces):
            return ex.Braces(tuple(items))
        return ex.Items(tuple(items), ("and",) * (len(items) - 1))
    if not _has_sign(node):
        return node
    if isinstance(node, ex.SetOp) and isinstance(node.right, ex.Braces):
        if not _has_sign(node.left):
            return ex.SetOp(node.op, node.left, _expanded(node.right))
    if isinstance(node, ex.Builder) and not _has_sign(node.element):
        return ex.Builder(node.element, _expanded(node.condition))
    if isinstance(node, ex.Relation) and not any(map(_has_sign, node.sides[:-1])):
        if node.ops[-1] == "!=":  # x is neither of the two
            both = (_with_sign(node, 1), _with_sign(node, -1))
            return ex.Items(both, ("and",))
        return ex.Relation(node.ops, (*node.sides[:-1], _expanded(node.sides[-1])))
    return ex.Items((_with_sign(node, 1), _with_sign(node, -1)), ("or",))


def _has_sign(node):
    return any(isinstance(below, ex.PlusMinus) for below in ex.walk(node))


def _with_sign(node, sign):
    if isinstance(node, ex.PlusMinus):
        value = _with_sign(node.arg, sign)
        return value if node.sign == sign else ex.negated(value)
    return ex.rebuilt(node, lambda below: _with_sign(below, sign))


# Lists.


def _members(members):
    if len(members) > MOST_MEMBERS:
        raise Unreadable("too many members")
    flat = []
    for member in members:
        nested = isinstance(member, Many) and not member.braces
        flat.extend(member.members if nested else (member,))
    return tuple(flat)


def _list(members, links):
    if all(isinstance(member, Region) for member in members):
        return _regions(members, links)
    if all(isinstance(each, Many) and _is_system(each.members) for each in members):
        return Many(None, tuple(members), True)
    mark = "or" if "or" in links else ";"
    if mark in links:
        groups = _alternatives(members, links, mark)
        if all(map(_is_system, groups)) or (mark == "or" and _is_system(members)):
            return Many(None, tuple(Many(None, tuple(group)) for group in groups), True)
    if "or" in links:
        members = _as_points(members)
    if all(isinstance(member, Region) for member in members):
        return _regions(members, links)
    members, ordered = _restricted(_members(members)), "or" not in links
    if len(members) == 1:
        return members[0]
    first = members[0]
    if isinstance(first, Named):
        name = first.name
        others = [member for member in members if isinstance(member, Named)]
        alike = all(member.name == name for member in others)
        if alike and (len(others) == 1 or len(others) == len(members)):
            bare = [m.value if isinstance(m, Named) else m for m in members]
            return Many(name, _members(bare), ordered=ordered)
    return Many(None, members, ordered=ordered)


def _restricted(members):
    """Returns members without those that only say what kind of number a name is.

    Of what an answer is about, x = 2k or x > 0, it would say more: x is whole.
    """
    about = set()
    for member in members:
        if isinstance(member, Named) and member.equation.op != "in":
            about.add(member.name)
        elif isinstance(member, Region) and not _is_line(member):
            about.add(ex.Sym(member.name))

    # Of a region without a name, whatever the name, it would say more.
    unnamed = any(map(_is_unnamed_region, members))

    def restricts(member):
        if isinstance(member, ex.Quantity) and isinstance(member.value, ex.Sym):
            kinds = {word.lower() for word in member.words}
            known = kinds <= lexicon.UNRESTRICTING and kinds & lexicon.KINDS.keys()
            return not known or member.value in about or unnamed
        if isinstance(member, Region):
            return not (_is_line(member) and member.name)
        kind = isinstance(member, Named) and member.equation.op == "in"
        field = kind and isinstance(member.value, ex.Const)
        return not field or member.name in about or unnamed

    rest = tuple(filter(restricts, members))
    return rest or members


def domains(node):
    """Returns {name: kind} of what a tree says of names: k is whole, or natural."""
    found = {}
    for below in ex.walk(node):
        match below:
            case ex.Relation(
                ops=("in",), sides=(ex.Sym(name=name), ex.Const(name=kind))
            ):
                found[name] = lexicon.DOMAINS.get(kind, kind)
            case ex.Quantity(value=ex.Sym(name=name), words=words):  # k is real
                kinds = [k for w in words if (k := lexicon.KINDS.get(w.lower()))]
                if kinds:
                    found[name] = f"field {kinds[0]}"
    return found


def _is_unnamed_region(member):
    try:
        return bool(as_region(member)) and not getattr(member, "name", None)
    except Unreadable:  # a pair of symbols
        return False


def _is_line(region):
    return region.intervals == (regions.LINE,)


def _compound(node):
    """Returns 3 hours and 30 minutes as one quantity, or None."""
    quantities = all(isinstance(item, ex.Quantity) for item in node.items)
    if not quantities or not set(node.links) <= {"and", ","}:
        return None
    try:
        return meaning(literals.together(node.items))
    except Unreadable:
        return None


def _as_points(members):
    """Returns x = 2 as a region beside another in x: 0 <= x <= 1 or x = 2."""
    names = {member.name for member in members if isinstance(member, Region)}

    def region(member):
        if not isinstance(member, Named) or member.equation.op != "=":
            return member
        if not isinstance(member.name, ex.Sym) or member.name.name not in names:
            return member
        several = isinstance(member.value, Many)
        found = member.value.members if several else (member.value,)
        points = [regions.Interval(p, True, p, True) for p in found]
        return Region(member.name.name, regions.union(points))

    return list(map(region, members)) if names - {None} else members


def _alternatives(members, links, mark):
    """Splits members where a mark stands between them: x=2, y=3 or x=3, y=2."""
    groups = [[members[0]]]
    for link, member in zip(links, members[1:], strict=True):
        if link == mark:
            groups.append([])
        groups[-1].append(member)
    return groups


def _is_system(members):
    """Whether several members name different things, and so belong together."""
    names = {member.name for member in members if isinstance(member, Named)}
    return 1 < len(names) == len(members)


def _regions(members, links):
    name = members[0].name
    if any(member.name != name for member in members):
        return Many(None, tuple(members))
    common = functools.reduce(regions.intersection, (m.intervals for m in members))
    if "or" in links or (not common and "and" not in links):
        together = [interval for m in members for interval in m.intervals]
        return Region(name, regions.union(together))
    return Region(name, common)


# Relations.


def _relation(node):
    if node.ops[-1] == "~=" and _is_rounding(*node.sides[-2:]):
        sides = node.sides[:-1]
        exact = ex.Relation(node.ops[:-1], sides) if len(sides) > 1 else sides[0]
        return Approximate(meaning(exact), node.sides[-1])
    if node.ops[-1] == "same":
        if not normal.same(*node.sides[-2:]):
            raise Unreadable("a remark with another value")
        before = ex.Relation(node.ops[:-1], node.sides[:-1])
        return meaning(before if len(before.sides) > 1 else node.sides[0])
    ops = tuple("=" if op == "~=" else op for op in node.ops)
    sides = node.sides
    if set(ops) <= {"=", "=="}:
        return _equality(sides, "==" in ops)
    if ops == ("in",):
        return _membership(sides)
    if "in" in ops or "notin" in ops:
        raise Unreadable("a chain of memberships")
    links = [
        _inequality(op, left, right)
        for op, left, right in zip(ops, sides, sides[1:], strict=False)
    ]
    if all(isinstance(link, Region) for link in links):
        return _regions(links, ("and",) * len(links))
    return links[0] if len(links) == 1 else Many(None, tuple(links))


def _is_rounding(exact, rounded):
    """Whether a decimal is an exact value rounded or cut off.

    From five digits on, the last may be off by one, as after rounding twice.
    """
    if any(isinstance(b, ex.Num) and b.digits for b in ex.walk(exact)):
        return False
    literal = ex.decimal(rounded)
    if literal is None or ex.symbols(exact):
        return False
    try:
        value, error = balls.ball(exact, {})
    except (ArithmeticError, ValueError, KeyError):
        return False
    unit = Fraction(10) ** literal.exponent
    if isinstance(value, complex) or not error < unit:
        return False
    value, size = Fraction(value), abs(literal.value)
    cut_off = size <= abs(value) + error and abs(value) - error < size + unit
    near = abs(value - literal.value)
    twice = literal.digits >= 5 or cut_off
    return near <= unit / 2 + Fraction(error) or (twice and near < unit)


def _equality(sides, congruent):
    first, last = sides[0], sides[-1]
    if _is_name(first) and not _is_false(sides[1:]):
        return Named(first, meaning(last), Equation("=", first, last))
    if congruent and not ex.symbols(first):
        return meaning(last)  # 129 = 8 (mod 11), written with three bars
    if len(sides) > 2 or not ex.symbols(first):
        if len(set(sides)) == len(sides) and not _is_false(sides):
            if len(sides) > 2 or normal.same(first, last):
                return meaning(last)
    return Equation("=", sides[-2], last)


def _is_false(sides):
    """Whether a chain says of a number that it is another: 3 + 5 = 7."""
    last = sides[-1]
    return any(
        normal.same(side, last) is False and not _is_rounding(side, last)
        for side in sides
        if not ex.symbols(side) and isinstance(side, VALUES)
    )


def _is_name(node):
    """Whether the left side of an equation names its right side."""
    match node:
        case ex.Sym() | ex.Text():
            return True
        case ex.Call(name="vec" | "overline" | "hat"):
            return True
        case ex.Call(name=name) if name in lexicon.MEASURES:
            return True
        case ex.Call(name=name, args=args) if name.startswith("apply "):
            return all(_is_name(arg) or _is_instance(arg) for arg in args)
        case ex.Bracket(items=items):
            return all(map(_is_name, items))
    return _is_figure(node)


def _is_instance(node):
    """Whether an argument is a number or an event: f(2), P(X = 1)."""
    return isinstance(node, ex.Relation) or not ex.symbols(node)


def _is_figure(node):
    """Whether a node is made of points' names alone: AB, NO / BO, |AB|."""
    if isinstance(node, ex.Sym):
        return node.name[:1].isupper()
    if isinstance(node, ex.Mul):
        return all(map(_is_figure, node.factors))
    if isinstance(node, ex.Pow):
        return node.exponent == ex.MINUS_ONE and _is_figure(node.base)
    return isinstance(node, ex.Call) and all(map(_is_figure, node.args))


def _membership(sides):
    name, inside = sides
    value = meaning(inside)
    region = as_region(value)
    if region is not None and isinstance(name, ex.Sym):
        return Region(name.name, region.intervals)
    return Named(name, value, Equation("in", name, inside))


def _inequality(op, left, right):
    names = ex.symbols(left) | ex.symbols(right)
    if len(names) == 1 and op != "==":
        (name,) = names
        intervals = regions.solved(op, left, right, ex.Sym(name))
        if intervals is not None:
            return Region(name, regions.union(intervals))
    return Equation(op, left, right)


def coordinates(named):
    """Returns (x, y) = (1, 2) as the list x = 1, y = 2, or None where it is none."""
    names, values = named.name, named.value
    if not (ex.is_point(names) and ex.is_point(values)):
        return None
    if len(names.items) != len(values.items):
        return None
    pairs = zip(names.items, values.items, strict=True)
    return Many(None, tuple(_equality(pair, False) for pair in pairs))


# Sets.

_HALF_LINES = {
    "field R+": regions.Interval(ex.ZERO, False, None, False),
    "field R-": regions.Interval(None, False, ex.ZERO, False),
    "field R>=0": regions.Interval(ex.ZERO, True, None, False),
    "field R<=0": regions.Interval(None, False, ex.ZERO, True),
}


def as_region(value):
    """Returns the region a meaning can stand for, or None."""
    if isinstance(value, Region):
        return value
    if value == ex.Const("field R"):
        return Region(None, (regions.LINE,))
    if isinstance(value, ex.Const) and value.name in _HALF_LINES:
        return Region(None, (_HALF_LINES[value.name],))
    if value == ex.Const("emptyset"):
        return Region(None, ())
    if isinstance(value, ex.Bracket):
        interval = regions.bracketed(value)
        if interval is not None:
            return Region(None, regions.union([interval]))
    return None


def _builder(node):
    """The set of the x that satisfy a condition, as the region if it is one."""
    variable = node.element
    if isinstance(variable, ex.Relation) and variable.ops == ("in",):
        variable, domain = variable.sides  # x in R such that
        if domain != ex.Const("field R"):
            return node
    condition = meaning(node.condition)
    if isinstance(condition, Region) and variable == ex.Sym(condition.name):
        return Region(None, condition.intervals)
    if isinstance(condition, Named | Many) and condition.name == variable:
        several = isinstance(condition, Many) or isinstance(condition.value, Many)
        values = condition if isinstance(condition, Many) else condition.value
        members = values.members if several else (values,)
        if not any(map(ex.symbols, members)):  # else what k ranges over decides
            return Many(None, members, True)
    return node


def _set_operation(node):
    left, right = meaning(node.left), meaning(node.right)
    first, second = as_region(left), as_region(right)
    if first is second is None and isinstance(left, Many) and isinstance(right, Many):
        if node.op == "cup" and left.braces and right.braces:
            return Many(None, left.members + right.members, True)
    first, second = first or _points(left), second or _points(right)
    if first is None or second is None:
        raise Unreadable("sets that are no intervals")
    match node.op:
        case "cup":
            intervals = regions.union([*first.intervals, *second.intervals])
        case "cap":
            intervals = regions.intersection(first.intervals, second.intervals)
        case _:
            intervals = regions.without(first.intervals, second.intervals)
    return Region(first.name, intervals)


def _points(value):
    """Returns a finite set of numbers as a region of single points."""
    if not (isinstance(value, Many) and value.braces):
        return None
    points = [regions.Interval(p, True, p, True) for p in value.members]
    return Region(None, regions.union(points))


def _transposed(node):
    """Returns a matrix or a row with rows and columns exchanged, or None."""
    if ex.is_point(node):
        return ex.Matrix("pmatrix", tuple((item,) for item in node.items))
    if isinstance(node, ex.Matrix):
        return ex.Matrix(node.kind, tuple(zip(*node.rows, strict=True)))
    return None


def _scaled_matrix(node):
    tables = [factor for factor in node.factors if isinstance(factor, ex.Matrix)]
    if len(tables) != 1 or not node.factors:
        return node
    scale = tuple(factor for factor in node.factors if factor is not tables[0])
    rows = tuple(
        tuple(ex.Mul((*scale, entry)) for entry in row) for row in tables[0].rows
    )
    return ex.Matrix(tables[0].kind, rows)


def is_many(text):
    """Whether a reference answer is a list, a set or several values."""
    try:
        return isinstance(read_meaning(text), Many)
    except Unreadable:
        return False
