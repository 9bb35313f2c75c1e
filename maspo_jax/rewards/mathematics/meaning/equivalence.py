"""Whether an answer means the same as the reference: a ladder from cheap to dear.

    spelling -> exact normal form -> error-bounded probes -> (worker) proof

Every comparison returns True, False, or None for "not decided here". What two
numbers or expressions are compared with is passed in as `same`: the calling
process passes `quick`, a worker passes the full ladder of `proofs`.
"""

import functools
from fractions import Fraction

from maspo_jax.rewards.mathematics.algebra import normal
from maspo_jax.rewards.mathematics.algebra.values import VALUES, match_values
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import lexicon, units
from maspo_jax.rewards.mathematics.language.parser import parse
from maspo_jax.rewards.mathematics.language.tokens import (
    Token,
    Unreadable,
    spelling,
    tokenize,
)
from maspo_jax.rewards.mathematics.logic import either, every, paired
from maspo_jax.rewards.mathematics.meaning import reading
from maspo_jax.rewards.mathematics.meaning.equations import match_equations
from maspo_jax.rewards.mathematics.meaning.meanings import (
    Approximate,
    Equation,
    Many,
    Named,
)
from maspo_jax.rewards.mathematics.meaning.regions import Region

_NO_UNITS = lexicon.DOUBTS | frozenset("is are was were nd st rd th".split())

_PUNCTUATION = frozenset(",;:'!")
_NO_WORD = Token("end", "")
_TAKEN_BACK = lexicon.HEDGES | {"is"}
_OPENERS = ("-", "{", "[", "\\{")  # what the text of a choice may begin with


def compare_texts(gold, answer, same):
    """Compares two texts.

    Args:
        gold: the reference answer, bare.
        answer: the extracted answer.
        same: compares two value nodes; True, False or None.

    Returns:
        (verdict, rule): True, False or None, and what decided.
    """
    try:
        expected, given = tokenize(gold), tokenize(answer)
    except Unreadable as refusal:
        return False, f"unparsed: {refusal}"
    if not given:
        return False, "no answer: empty"
    if spelling(_ungrouped(expected)) == spelling(_ungrouped(given)):
        return True, "same text"
    if any(token.kind == "word" for token in expected + given):
        if _plain_words(expected) == _plain_words(given):
            return True, "same words"
    label, spoken = _label_of_choice(expected)
    alone = sum(token.text not in "()" for token in given) == 1
    if label is not None and (alone or not spoken):  # else both have a text
        verdict = _is_chosen(label, given)
        if verdict is not None:
            return verdict, "choice"
    try:
        reference = reading.read_meaning(gold)
    except Unreadable as refusal:
        return False, f"unparsed: reference: {refusal}"
    try:
        candidate = reading.read_meaning(answer)
        if _differ_in_domain(gold, expected, answer, given):
            return False, "value"
        return match(reference, candidate, same), "value"
    except Unreadable as refusal:
        if isinstance(reference, ex.Text):
            return False, "words"
        return False, f"unparsed: {refusal}"


# Wording.


def _differ_in_domain(gold, expected, answer, given):
    """Whether two answers say different kinds of one name: k in Z, k in N."""
    if not all(map(_states_kind, (expected, given))):
        return False
    kinds, others = (reading.domains(parse(text)) for text in (gold, answer))
    return any(others.get(name, kind) != kind for name, kind in kinds.items())


def _states_kind(tokens):
    return any(token.text == "in" or token.text in lexicon.KINDS for token in tokens)


def _ungrouped(tokens):
    """Returns tokens without braces around all of them."""
    if len(tokens) < 2 or (tokens[0].text, tokens[-1].text) != ("{", "}"):
        return tokens
    depth = 0
    for token in tokens[:-1]:
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        if not depth:
            return tokens
    return tokens[1:-1]


def _plain_words(tokens):
    """Returns the words of an answer without case, punctuation or article.

    Punctuation is what stands between words; beside a number or a name it carries the
    value, as every other sign does.
    """
    words = []
    around = zip(tokens, (_NO_WORD, *tokens), (*tokens[1:], _NO_WORD), strict=False)
    for token, before, after in around:
        between = "word" in (before.kind, after.kind) and before.kind != "num"
        if token.text in _PUNCTUATION and token.kind == "op" and between:
            continue
        if token.kind == "name" and not token.spaced and before.kind == "name":
            # A word too short to be told from symbols, whose case counts.
            words[-1] = (words[-1] + token.text).lower()
        else:
            words.append(token.text if _case_counts(token) else token.text.lower())
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        del words[0]
    return words


def _case_counts(token):
    """Whether a token is a symbol, or a unit that is another in small letters: Mg."""
    if token.kind == "name":
        return True
    return units.lookup(token.text) != units.lookup(token.text.lower())


def _label_of_choice(tokens):
    """Returns the letter if a reference is a choice, B or (b), and if it has a text."""
    texts, size = [token.text for token in tokens], len(tokens)
    if len(tokens) > 3 and (texts[0], texts[2]) == ("(", ")") and tokens[3].spaced:
        tokens = tokens[:3]  # (C) 12
    if len(tokens) > 2 and texts[1] == "." and texts[0] in lexicon.LABELS:
        tokens = tokens[:1]  # C. 12
    bare = [token for token in tokens if token.text not in "()"]
    if len(bare) != 1 or len(bare[0].text) != 1:
        return None, False
    letter = bare[0].text.upper() if len(tokens) == 3 else bare[0].text
    return letter if letter in lexicon.LABELS else None, len(tokens) < size


def _is_chosen(label, tokens):
    """Whether an answer is that label, with or without the choice's text after it."""
    if tokens[0].text.lower() in ("option", "choice") and len(tokens) > 1:
        tokens = tokens[1:]
    texts = [token.text for token in tokens]
    if (len(texts), texts[0], texts[-1]) == (3, "[", "]"):
        texts = texts[1:2]
    if len(texts) == 1:
        return texts[0].upper() == label
    if texts[1] == "(" and texts[-1] == ")" and tokens[2].kind == "word":
        tokens = [tokens[0], *tokens[2:-1]]  # D (none of the above)
        texts = [token.text for token in tokens]
        return None if _TAKEN_BACK & set(texts) else texts[0].upper() == label
    if texts[0] == "(":
        tokens, texts = tokens[1:], texts[1:]
    if texts[1:2] == [")"]:  # (B) or B), perhaps with the choice's text after it
        rest = tokens[2:3]
        joined = rest and rest[0].kind == "op" and rest[0].text not in _OPENERS
        factor = rest and not rest[0].spaced and rest[0].kind in ("op", "name")
        if joined or factor or ")" in texts[2:]:
            return None
        if _names_another(tokens[2:]):
            return False
        return texts[0].upper() == label and not _TAKEN_BACK & set(texts)
    if len(texts) > 2 and texts[1] in (":", "."):
        if any(_is_label(*pair) for pair in zip(tokens[1:], tokens[2:], strict=False)):
            return False  # B: 3 or C: 4
        if _names_another(tokens[2:]):
            return False
        return texts[0].upper() == label and not _TAKEN_BACK & set(texts)
    return None


def _names_another(tokens):
    """Whether a second label stands in the text of a choice: 5 B. 6, 12 C 13."""
    around = zip((_NO_WORD, *tokens), tokens, (*tokens[1:], _NO_WORD), strict=False)
    return any(
        token.text in lexicon.LABELS
        and (
            after.text in (".", ":", ")") or (before.kind, after.kind) == ("num", "num")
        )
        for before, token, after in around
    )


def _is_label(link, letter):
    """Whether a second choice begins here."""
    joins = link.text in ("or", "and", ",", ";", ":", ".")
    return joins and letter.text in lexicon.LABELS


# Meanings.


def match(gold, answer, same):
    """Compares two meanings: True, False or None."""
    if gold == answer:
        return True
    if isinstance(gold, Approximate):
        return either(match(g, answer, same) for g in (gold.exact, gold.rounded))
    if isinstance(answer, Approximate):
        return either(match(gold, a, same) for a in (answer.exact, answer.rounded))
    if isinstance(gold, Named) or isinstance(answer, Named):
        return _match_named(gold, answer, same)
    if isinstance(gold, ex.Quantity) or isinstance(answer, ex.Quantity):
        if not (isinstance(gold, Many) or isinstance(answer, Many)):
            return _match_quantities(gold, answer, same)
    if _is_region(gold) or _is_region(answer):
        return _match_regions(gold, answer, same)
    if isinstance(gold, Many) or isinstance(answer, Many):
        return _match_many(gold, answer, same)
    if isinstance(gold, Equation) or isinstance(answer, Equation):
        if isinstance(gold, Equation) and isinstance(answer, Equation):
            return match_equations(gold, answer)
        return False
    for table, other in ((gold, answer), (answer, gold)):
        vector = _as_vector(other, _as_table(table))
        if vector is not None:
            return _match_tables(table, vector, same)
    if isinstance(gold, ex.Matrix) or isinstance(answer, ex.Matrix):
        return _match_tables(gold, answer, same)
    if isinstance(gold, ex.Bracket) or isinstance(answer, ex.Bracket):
        return _match_brackets(gold, answer, same)
    if isinstance(gold, ex.Text) or isinstance(answer, ex.Text):
        return _match_words(gold, answer)
    if isinstance(gold, VALUES) and isinstance(answer, VALUES):
        return match_values(gold, answer, same)
    return None


def _match_named(gold, answer, same):
    listed = [
        reading.coordinates(m) if isinstance(m, Named) else m for m in (gold, answer)
    ]
    if all(isinstance(meaning, Many) for meaning in listed):
        return _match_many(*listed, same)  # a value belongs to its name
    if isinstance(gold, Named) and isinstance(answer, Named):
        if gold.name == answer.name:
            return match(gold.value, answer.value, same)
        if _dependent(gold) and _dependent(answer):
            return match(gold.value, _renamed(answer, gold), same)
        return match_equations(gold.equation, answer.equation)
    named, other = (gold, answer) if isinstance(gold, Named) else (answer, gold)
    if isinstance(other, Equation):
        return match_equations(named.equation, other)
    if isinstance(gold, Named):
        return match(gold.value, answer, same)
    return match(gold, answer.value, same)


def _dependent(named):
    """Whether a name is the usual one of a function: y or f(x), but not f(2)."""
    name = named.name
    return name == ex.Sym("y") or (
        isinstance(name, ex.Call)
        and name.name.startswith("apply f")
        and all(isinstance(arg, ex.Sym) for arg in name.args)
    )


def _renamed(named, other):
    """Returns the value of f(t) = t^2 as it is in x, beside f(x) = x^2."""
    value, calls = named.value, (named.name, other.name)
    if not all(isinstance(call, ex.Call) for call in calls):
        return value
    if not isinstance(value, (*VALUES, ex.Matrix)):
        return value
    own, theirs = ([arg.name for arg in call.args] for call in calls)
    # All at once: f(y, x) beside f(x, y); and what has the name already is another.
    marked = [f"argument {place}" for place in range(len(own))]
    others = [f"another {name}" for name in theirs]
    for before, after in ((own, marked), (theirs, others), (marked, theirs)):
        for old, new in zip(before, after, strict=False):
            value = ex.replaced(value, old, ex.Sym(new))
    return value


def _is_region(meaning):
    if isinstance(meaning, ex.Const):
        return meaning.name == "emptyset" or meaning.name.startswith("field ")
    return isinstance(meaning, Region)


def _match_regions(gold, answer, same):
    first, second = reading.as_region(gold), reading.as_region(answer)
    if first is None or second is None:
        return False
    if first.name and second.name and first.name != second.name:
        return False
    if len(first.intervals) != len(second.intervals):
        return False
    return every(
        _match_intervals(a, b, same)
        for a, b in zip(first.intervals, second.intervals, strict=True)
    )


def _match_intervals(a, b, same):
    if (a.has_low, a.has_high) != (b.has_low, b.has_high):
        return False
    return every(
        (left is right) if left is None or right is None else same(left, right)
        for left, right in ((a.low, b.low), (a.high, b.high))
    )


def _match_many(gold, answer, same):
    for many, other in ((gold, answer), (answer, gold)):
        letters = _letters(other)
        if letters is not None and isinstance(many, Many):
            return set(letters) == set(many.members)
        if isinstance(many, Many) and not isinstance(other, Many) and not many.ordered:
            first, *rest = many.members
            if all(normal.same(first, member) for member in rest):
                return match(other, first, same)  # one value: 0.5 or 1/2
    if not isinstance(answer, Many):
        return _match_positions(gold, answer, same)
    if not isinstance(gold, Many):
        if ex.is_point(gold) and not answer.braces and answer.ordered:
            return _in_order(gold.items, _by_name(answer), same)
        return False
    if gold.name and answer.name and gold.name != answer.name:
        return False
    if _names_others(gold, answer) or _names_others(answer, gold):
        return False
    if len(gold.members) != len(answer.members):
        return False
    labeled, other = _labeled(gold), _labeled(answer)
    if labeled is not None and other is not None and labeled.keys() == other.keys():
        return every(match(labeled[key], other[key], same) for key in labeled)
    if _distinctly_named(gold) and not any(
        isinstance(m, Named) for m in answer.members
    ):
        return not answer.braces and _in_order(gold.members, answer.members, same)
    return paired(gold.members, answer.members, functools.partial(match, same=same))


def _labeled(many):
    """Returns {words: member} of a list that says of each what it counts, or None."""
    if not all(isinstance(member, ex.Quantity) for member in many.members):
        return None
    found = {" ".join(m.words).lower(): m for m in many.members}
    return found if 1 < len(found) == len(many.members) else None


def _names_others(many, other):
    """Whether several values of one name meet values of another: x = 1 or z = 2."""
    named = (member.name for member in other.members if isinstance(member, Named))
    return bool(many.name) and any(name != many.name for name in named)


def _match_positions(gold, answer, same):
    """Compares x = 5, y = 2 with the point (5, 2)."""
    if _distinctly_named(gold) and ex.is_point(answer):
        return _in_order(gold.members, answer.items, same)
    return False


def _distinctly_named(many):
    return all(isinstance(member, Named) for member in many.members)


def _by_name(many):
    """Returns members in the order of their names, x before y; else as they stand."""
    if not _distinctly_named(many):
        return many.members
    return sorted(many.members, key=lambda member: str(member.name))


def _letters(node):
    """Returns the symbols of several choices written as one word (AC), or None."""
    if isinstance(node, ex.Mul) and len(node.factors) > 1:
        if all(f in _CHOICES for f in node.factors):
            return node.factors
    return None


_CHOICES = frozenset(ex.Sym(letter) for letter in {*"ABCDEFGH", *lexicon.CIRCLED})


def _in_order(gold, answer, same):
    if len(gold) != len(answer):
        return False
    return every(
        match(reading.meaning(a), reading.meaning(b), same) if _is_tree(a, b) else
        match(a, b, same)
        for a, b in zip(gold, answer, strict=True)
    )  # fmt: skip


def _is_tree(a, b):
    meanings = Named | Many | Region | Equation
    return not isinstance(a, meanings) and not isinstance(b, meanings)


def _match_tables(gold, answer, same):
    for point, other in ((gold, answer), (answer, gold)):
        row = isinstance(other, ex.Matrix) and len(other.rows) == 1
        if row and ex.is_point(point):
            return _in_order(point.items, other.rows[0], same)
    gold, answer = _as_table(gold), _as_table(answer)
    if gold is None or answer is None:
        return False
    if (
        "vmatrix" in (gold.kind, answer.kind) or "cases" in (gold.kind, answer.kind)
    ) and (gold.kind != answer.kind):
        return False
    shape, other = [[len(row) for row in table.rows] for table in (gold, answer)]
    if shape != other:
        return False
    if gold.kind == "cases":
        rows = functools.partial(_in_order, same=same)
        return paired(gold.rows, answer.rows, rows)
    return every(
        _in_order(a, b, same) for a, b in zip(gold.rows, answer.rows, strict=True)
    )


def _as_vector(node, table):
    """Returns 2i + 3j as a column beside one of two or three numbers, or None."""
    if not isinstance(node, VALUES) or table is None:
        return None
    axes = ("i", "j", "k")[: len(table.rows)]
    column = len(table.rows) > 1 and all(len(row) == 1 for row in table.rows)
    if not column or len(table.rows) > 3 or not ex.symbols(node) <= set(axes):
        return None

    def at(axis, size):
        point = node
        for name in axes:
            point = ex.replaced(point, name, ex.Num(Fraction(size * (name == axis))))
        return point

    parts = [at(axis, 1) for axis in axes]
    for axis, part in zip(axes, parts, strict=True):
        if not normal.same(at(axis, 2), ex.Mul((ex.TWO, part))):
            return None  # no multiple of the unit vector
    if node == parts[0] or not normal.same(at(None, 1), ex.ZERO):
        return None
    along = zip(parts, (ex.Const("i"), ex.Sym("j"), ex.Sym("k")), strict=False)
    if not normal.same(node, ex.Add(tuple(ex.Mul(pair) for pair in along))):
        return None  # 2i + 3j + ij
    return ex.Matrix("pmatrix", tuple((part,) for part in parts))


def _as_table(node):
    if isinstance(node, ex.Matrix):
        return node
    if ex.is_point(node):
        return ex.Matrix("pmatrix", tuple((item,) for item in node.items))
    rows = node.items if isinstance(node, ex.Bracket) else ()
    if rows and all(isinstance(row, ex.Bracket) and row.open == "[" for row in rows):
        return ex.Matrix("pmatrix", tuple(row.items for row in rows))
    return None


def _match_brackets(gold, answer, same):
    match answer:
        case ex.Mul(factors=(ex.Sym(name=name), ex.Bracket() as point)) if (
            name.isupper()
        ):
            answer = point  # A(1, 2)
    if not (isinstance(gold, ex.Bracket) and isinstance(answer, ex.Bracket)):
        return False
    if (gold.open, gold.close) != (answer.open, answer.close):
        return False
    return _in_order(gold.items, answer.items, same)


def _match_words(gold, answer):
    if not (isinstance(gold, ex.Text) and isinstance(answer, ex.Text)):
        return False
    return " ".join(gold.words).lower() == " ".join(answer.words).lower()


def _match_quantities(gold, answer, same):
    """Compares values with units: two that are known must agree, one may lack."""
    gold, answer = _with_letter_unit(gold, answer), _with_letter_unit(answer, gold)
    unit, other = _unit(gold), _unit(answer)
    if _are_opposite(gold, answer):
        return False
    value, given = _bare(gold), _bare(answer)
    if _is_count(gold, value, given) or _is_count(answer, given, value):
        return False
    if unit is not None and other is not None:
        if not units.agree(unit, other):
            return False
        if unit.modulus is not None:
            return _congruent(value, given, unit.modulus, same)
        if units.differ_in_size(unit, other):
            value = ex.Mul((unit.size, value))
            given = ex.Mul((other.size, given))
    return match(value, given, same)


def _is_count(node, value, other):
    """Whether what is counted meets a percentage: 24 students are not 24%."""
    counted = isinstance(node, ex.Quantity) and units.unit_of(node.words) is None
    signed = [isinstance(each, ex.Percent) for each in (value, other)]
    return counted and signed == [False, True] and not normal.same(value, other)


def _are_opposite(gold, answer):
    """Whether two labels are a sign: an increase is no decrease."""
    if not (isinstance(gold, ex.Quantity) and isinstance(answer, ex.Quantity)):
        return False
    words, others = ({w.lower() for w in node.words} for node in (gold, answer))
    return any(
        (one in words and two in others) or (two in words and one in others)
        for one, two in lexicon.OPPOSITES
    )


def _congruent(value, given, modulus, same):
    """Whether two values differ by a multiple of a modulus."""
    verdict = match(value, given, same)
    numbers = [normal.rational_value(node) for node in (value, given)]
    if verdict or None in numbers or not modulus.isdigit():
        return verdict
    return (numbers[0] - numbers[1]) % int(modulus) == 0


def _with_letter_unit(node, other):
    """Returns `120 g` or `10 m/s` as a quantity, not a product, beside one like it."""
    unit = _unit(other)
    if unit is None or not isinstance(node, ex.Mul):
        return node
    words = []
    for count, factor in enumerate(reversed(node.factors[1:]), start=1):
        letter, power = factor, ""
        if isinstance(factor, ex.Pow) and isinstance(factor.exponent, ex.Num):
            letter, power = factor.base, str(factor.exponent.value)
        if not isinstance(letter, ex.Sym):
            break
        words = [letter.name, *(("^", power) if power else ()), *words]
        own = units.unit_of(tuple(words))
        if own is not None and own.dimensions == unit.dimensions:
            return ex.Quantity(ex.product(node.factors[:-count]), tuple(words))
    return node


def _bare(node):
    """Returns a value without its unit, which a percent sign is not part of."""
    if isinstance(node, ex.Degrees):
        return node.arg
    return node.value if isinstance(node, ex.Quantity) else node


def _unit(node):
    """Returns the `Unit` of a quantity or of a sign, or None if it has none."""
    if isinstance(node, ex.Percent):
        return units.PERCENT
    if isinstance(node, ex.Degrees):
        return units.DEGREE
    if not isinstance(node, ex.Quantity):
        return None
    if len(node.words) > 8 or _NO_UNITS & {word.lower() for word in node.words}:
        raise Unreadable("a hedge where a unit would stand")
    return units.unit_of(node.words)
