r"""Rules that spoil an answer: each makes a text that means something else.

A rule is a function of the core of a reference answer (what is left without `$` and
the like) that yields candidates. Those of `by_value` are kept only where the referee
says that they differ in value; those of `by_form` differ by the argument in their
docstring, under the policy of `maspo_jax/rewards/README.md`.
"""

import random
import re
from fractions import Fraction

from support.mutations import referee
from support.mutations.referee import WORDS, differ, meaning

RULES = {}  # name -> function of a gold, to a spoiled text or None
NUMBER = re.compile(r"\d+\.\d+|\.\d+|\d+")
GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
FRACTION = re.compile(rf"\\[dtc]?frac\s*{GROUP}\s*{GROUP}")
ROOT = re.compile(rf"\\sqrt\s*{GROUP}")
POWER = re.compile(rf"\^\s*(?:{GROUP}|(\d|[a-z]))(?!\\circ)")
SLASH = re.compile(r"(?<![\d.)}\w])(\d+)\s*/\s*(\d+)(?![\d.(\w\\])")
SEVERAL = 6  # candidates tried of a rule


def core(gold):
    """Returns what a gold says without the signs that only frame it."""
    text = gold.strip()
    for _ in range(3):
        for opener, closer in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inside = text[len(opener) : -len(closer)]
            framed = text.startswith(opener) and text.endswith(closer)
            if framed and len(text) > 2 and opener not in inside:
                text = inside.strip()
        boxed = re.fullmatch(rf"\\boxed\s*{GROUP}", text)
        text = boxed[1].strip() if boxed else text
    ends = re.search(r"(\.\.|\\right\s*|[a-z]\.\s*[a-z]|\\)\.$", text)
    return text if ends else text.removesuffix(".").strip()


def by_value(rule):
    """Registers a rule whose candidates the referee decides."""
    return _registered(rule, differ)


def by_form(rule):
    """Registers a rule that argues for itself that its candidates differ."""
    return _registered(rule, lambda gold, text: not _same_text(gold, text))


def _same_text(gold, text):
    return re.sub(r"\s", "", gold) == re.sub(r"\s", "", text)


# A power of -1 is its own inverse and its square is one, so most rules do nothing to
# it; a box or an approximation within a gold makes more than one answer of it.
STRANGE = re.compile(r"\(-1\)\s*\^|boxed|\\approx")


def _registered(rule, certain):
    def spoil(gold):
        text = core(gold)
        if STRANGE.search(text) and rule.__name__ != "parity_lost":
            return None
        candidates = list(dict.fromkeys(rule(text)))
        random.Random(f"{rule.__name__} {gold}").shuffle(candidates)
        for candidate in candidates[:SEVERAL]:
            if certain(text, candidate):
                return candidate
        return None

    spoil.__doc__ = rule.__doc__
    RULES[rule.__name__] = spoil
    return rule


def each(pattern, replacement, text):
    """Yields a text once per match of a pattern, with that match replaced."""
    for match in re.finditer(pattern, text):
        new = replacement(match) if callable(replacement) else replacement
        if new is not None:
            yield text[: match.start()] + new + text[match.end() :]


def quantity(text):
    """Returns the head sign, the number and the tail signs of a text."""
    head = text[:2] if text.startswith(r"\$") else ""
    body, tail = text[len(head) :], ""
    pattern = (
        rf"\s*(?:{WORDS}(?:\^\s*\{{?\d\}}?)?|(?<![a-zA-Z\\])[a-zA-Z]{{3,}}"
        r"|\\?%|\^\s*(?:\\circ|\{\\circ\}))\s*$"
    )
    while match := re.search(pattern, body):
        body, tail = body[: match.start()], body[match.start() :] + tail
    return head, body.strip(), tail


def number(text):
    """Returns the one real number that a text with or without a sign says, or None."""
    said = meaning(text)
    if said is None or said.kind != "value" or len(said.parts) > 1:
        return None
    (value,) = said.parts
    if isinstance(value, complex):
        return None if abs(value.imag) > 1e-12 else value.real
    return value


def whole(text):
    """Returns the integer that a bare text is, or None."""
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def other(text):
    """Returns an integer that a value certainly is not."""
    value = number(text)
    return 7 if value is None or abs(value) < 5 else int(abs(value)) + 2


def members(text):
    """Returns the opening, the members and the closing of a list or tuple.

    None where a comma could also group digits.
    """
    if re.search(r"\d,\s*(?:\\!)?\s*\d{3}(?!\d)", text):
        return None
    form = re.fullmatch(
        r"((?:\\left\s*)?(?:\(|\[|\\\{)\s*)(.*?)(\s*(?:\\right\s*)?(?:\)|\]|\\\}))",
        text,
        re.DOTALL,
    )
    plain = re.sub(r"\\left|\\right", "", text)
    for opener, inside, closer in ([form.groups()] if form else []) + [("", plain, "")]:
        try:
            parts = referee._split(referee.cleaned(inside), [","])
        except referee.Unsure:
            continue
        if len(parts) > 1 or opener.strip().endswith("{"):
            return opener, parts, closer
    return None


# Digits and signs.


@by_value
def digit_changed(text):
    """9 for 8."""
    yield from each(r"\d", lambda m: str((int(m[0]) + 1) % 10), text)


@by_value
def digit_dropped(text):
    """12 for 123."""
    yield from each(r"\d(?=\d)|(?<=\d)\d", "", text)


@by_value
def digit_added(text):
    """122 for 12."""
    yield from each(r"\d", lambda m: m[0] * 2, text)


@by_value
def digits_swapped(text):
    """21 for 12."""
    yield from each(r"(\d)(\d)", lambda m: m[2] + m[1], text)


@by_value
def operator_among_digits(text):
    """12 as 1(2), 1+2, 1/2, 1^2, 1-2, 1!2 of the same digits."""
    for sign in ("({})", "+{}", "/{}", "^{{{}}}", "-{}", r" \cdot {}", "*{}"):
        yield from each(
            r"(?<![\d.,_^])(\d+?)(\d+)(?![\d.,])",
            lambda m, s=sign: m[1] + s.format(m[2]),
            text,
        )


@by_value
def off_by_one(text):
    """20001 for 20000."""
    if whole(text) is not None:
        yield from (str(whole(text) + 1), str(whole(text) - 1))


@by_value
def nearly(text):
    """19999.9999 for 20000."""
    if whole(text) is not None:
        yield from (f"{text}.0001", f"{text}.00000001")


@by_value
def sign_of_all(text):
    """-5 for 5 and 5 for -5."""
    if text.startswith("-"):
        yield text[1:].strip()
    elif not text.startswith(("(", "[", "\\{", "\\left", "\\begin", "\\$", "+")):
        left, equals, right = text.rpartition("=")
        yield f"{left}{equals} -{right.strip()}".strip()


@by_value
def sign_within(text):
    """a-b for a+b."""
    yield from each(r"\+", "-", text)
    yield from each(r"(?<=[\w)}\s])-", "+", text)
    yield from each(r"(?<=[,(\[{])\s*-", "", text)


@by_value
def sum_to_product(text):
    r"""a\cdot b for a+b."""
    yield from each(r"\+|(?<=[\w)}\s])-", r" \\cdot ".replace("\\\\", "\\"), text)


@by_value
def product_to_sum(text):
    r"""2+\sqrt3 for 2\sqrt3."""
    yield from each(r"\\cdot|\\times|\*", "+", text)
    yield from each(r"(?<=\d)\s*(?=\\sqrt|\\pi|[a-z(])", "+", text)


@by_value
def term_dropped(text):
    """a for a+b."""
    parts = _terms(text)
    if len(parts) > 1:
        for place in range(len(parts)):
            yield "".join(parts[:place] + parts[place + 1 :]).removeprefix("+").strip()


def _terms(text):
    """Returns the terms of a sum, each with its sign."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign in "+-" and not depth and text[start:place].strip():
            parts.append(text[start:place])
            start = place
    return [*parts, text[start:]]


@by_value
def factor_dropped(text):
    r"""\sqrt3 for 2\sqrt3."""
    yield from each(r"(?<![\d.{^_])\d+\s*(?=\\sqrt|\\pi|[a-z(])", "", text)
    yield from each(r"(?<=\d)\s*\\sqrt\s*\{\d+\}", "", text)


@by_value
def bracket_dropped(text):
    """a+bc for (a+b)c."""
    bare = re.sub(r"\\left|\\right", "", text)
    if bare[:1] not in "([" or bare[-1:] not in ")]":
        yield from each(r"\(([^()]*)\)", lambda m: m[1], bare)


# Powers, factorials, fractions, roots.


@by_value
def factorial_added(text):
    """6! for 6."""
    yield from each(r"(?<![\d._^{])\d+(?![\d.!_])", lambda m: m[0] + "!", text)


@by_value
def factorial_dropped(text):
    """6 for 6!."""
    yield from each("!", "", text)


@by_value
def exponent_changed(text):
    """x^3 for x^2."""
    yield from each(
        POWER,
        lambda m: f"^{{{m[1] or m[2]}+1}}" if "circ" not in m[0] else None,
        text,
    )


@by_value
def exponent_negated(text):
    """x^{-2} for x^2."""
    if not re.search(r"-1\)?\s*\}?\^", text):  # a power of -1 is its own inverse
        yield from each(POWER, lambda m: f"^{{-({m[1] or m[2]})}}", text)


@by_value
def power_dropped(text):
    """x for x^2."""
    yield from each(POWER, "", text)


@by_value
def power_flattened(text):
    """23 for 2^3."""
    yield from each(r"(?<=\d)\^\s*(?:\{(\d+)\}|(\d))", lambda m: m[1] or m[2], text)


@by_value
def power_to_product(text):
    r"""2\cdot 3 for 2^3."""
    yield from each(POWER, lambda m: rf" \cdot ({m[1] or m[2]})", text)


@by_value
def squared(text):
    """5^2 for 5."""
    head, body, tail = quantity(text)
    yield f"{head}({body})^2{tail}"
    if whole(body) is not None:
        yield f"{head}{body}^2{tail}"
        yield f"{head}{body}^{{2}}{tail}"


@by_value
def fraction_inverted(text):
    """b/a for a/b."""
    yield from each(FRACTION, lambda m: rf"\frac{{{m[2]}}}{{{m[1]}}}", text)
    yield from each(SLASH, lambda m: f"{m[2]}/{m[1]}", text)


@by_value
def fraction_to_product(text):
    """ab for a/b."""
    yield from each(FRACTION, lambda m: rf"({m[1]}) \cdot ({m[2]})", text)
    yield from each(SLASH, lambda m: f"{m[1]}*{m[2]}", text)


@by_value
def slash_dropped(text):
    """34 for 3/4."""
    yield from each(SLASH, lambda m: m[1] + m[2], text)
    yield from each(r"\\[dtc]?frac\{(\d+)\}\{(\d+)\}", lambda m: m[1] + m[2], text)


@by_value
def numerator_only(text):
    """a for a/b."""
    yield from each(FRACTION, lambda m: f"{{{m[1]}}}", text)
    yield from each(SLASH, lambda m: m[1], text)


@by_value
def denominator_only(text):
    """b for a/b."""
    yield from each(FRACTION, lambda m: f"{{{m[2]}}}", text)
    yield from each(SLASH, lambda m: m[2], text)


@by_value
def fraction_to_difference(text):
    """a-b for a/b."""
    yield from each(FRACTION, lambda m: f"({m[1]}-({m[2]}))", text)
    yield from each(SLASH, lambda m: f"{m[1]}-{m[2]}", text)


@by_value
def root_dropped(text):
    r"""3 for \sqrt3."""
    yield from each(ROOT, lambda m: f"({m[1]})", text)
    yield from each(r"\\sqrt\s*\{(\d+)\}", lambda m: m[1], text)
    yield from each(r"\\sqrt\s*(?=\d)", "", text)


@by_value
def root_added(text):
    r"""\sqrt5 for 5."""
    head, body, tail = quantity(text)
    yield rf"{head}\sqrt{{{body}}}{tail}"


@by_value
def root_degree(text):
    r"""\sqrt[3]5 for \sqrt5."""
    yield from each(ROOT, lambda m: rf"\sqrt[3]{{{m[1]}}}", text)
    yield from each(r"\\sqrt\s*\[\d+\]", r"\\sqrt".replace("\\\\", "\\"), text)


@by_value
def root_of_less(text):
    r"""\sqrt a+b for \sqrt{a+b}."""
    yield from each(
        r"\\sqrt\{([^{}+-]+)([+-][^{}]+)\}", lambda m: rf"\sqrt{{{m[1]}}}{m[2]}", text
    )


# Decimals and constants.


@by_value
def point_moved(text):
    """1.25 for 12.5."""
    yield from each(r"(\d)\.(\d)", lambda m: f".{m[1]}{m[2]}", text)
    yield from each(r"\.(\d)", lambda m: f"{m[1]}.", text)


@by_value
def point_dropped(text):
    """125 for 12.5."""
    yield from each(r"(?<=\d)\.(?=\d)", "", text)


@by_value
def point_for_comma(text):
    """1.234 for 1,234."""
    yield from each(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}$)", ".", text)


@by_value
def point_added(text):
    """1.234 for 1234."""
    if whole(text) is not None:
        yield from each(r"(?<=\d)(?=\d)", ".", text)


@by_value
def hundredfold(text):
    """50 for 0.5, where no sign of percent stands."""
    value = number(text)
    _, body, tail = quantity(text)
    if not tail and isinstance(value, Fraction) and body == text:
        for scaled in (value * 100, value / 100, value * 10):
            yield _decimal(scaled) or f"{scaled}"


def _decimal(value):
    """Returns a fraction as a finite decimal, or None."""
    for digits in range(12):
        if (value * 10**digits).denominator == 1:
            digits_ = f"{abs(int(value * 10**digits)):0{digits + 1}}"
            sign = "-" if value < 0 else ""
            cut = len(digits_) - digits
            return sign + digits_[:cut] + ("." + digits_[cut:] if digits else "")
    return None


@by_value
def rounded(text):
    """0.333 for 1/3 and 1.414 for the root of two."""
    value = number(text)
    _, body, tail = quantity(text)
    if value is not None and 1e-3 < abs(value) < 1e6:
        yield f"{float(value):.4g}{tail}"
        yield f"{float(value):.6g}{tail}"


@by_form
def last_digit_wrong(text):
    """0.33333339 for 1/3: of seven digits and more all must be right."""
    value = number(text)
    _, body, tail = quantity(text)
    endless = isinstance(value, float) or (
        isinstance(value, Fraction) and _decimal(value) is None
    )
    if endless and 1e-3 < abs(value) < 1e4 and not re.search("%|percent", tail):
        yield f"{float(value) + 4e-8:.8f}{tail}"


@by_value
def constant_dropped(text):
    r"""2 for 2\pi."""
    yield from each(r"(?<=[\d}) ])\s*(?:\\pi(?![a-z])|\u03c0)", "", text)
    yield from each(r"(?<=\d)\s*[ei](?![a-z])", "", text)


@by_value
def constant_swapped(text):
    r"""e for \pi."""
    yield from each(r"\\pi(?![a-z])|\u03c0", " e", text)
    yield from each(
        r"(?<![a-zA-Z\\])e(?![a-zA-Z])", r" \\pi ".replace("\\\\", "\\"), text
    )


@by_value
def constant_added(text):
    r"""5\pi for 5, 5i for 5, 5x for 5."""
    _, body, tail = quantity(text)
    if not tail and re.search(r"[\d})]$", text) and not text.endswith(r"\}"):
        yield from (text + r"\pi", text + "i", text + "x", text + "+x")


@by_value
def function_swapped(text):
    r"""\cos for \sin."""
    swaps = {"sin": "cos", "cos": "sin", "tan": "cot", "ln": "exp", "arctan": "arcsin"}
    for one, two in swaps.items():
        yield from each(rf"\\{one}(?![a-z])", lambda _, t=two: "\\" + t, text)


@by_value
def floor_to_ceiling(text):
    r"""\lceil x\rceil for \lfloor x\rfloor."""
    if r"\lfloor" in text:
        yield text.replace("floor", "ceil")
    if r"\lceil" in text:
        yield text.replace("ceil", "floor")


@by_value
def repetition_dropped(text):
    r"""0.3 for 0.\overline{3}."""
    yield from each(r"\\overline\{(\d+)\}", lambda m: m[1], text)


@by_value
def integer_part_dropped(text):
    r"""1/2 for 3\frac12."""
    yield from each(r"(?<![\d.])\d+\s*(?=\\[dt]?frac)", "", text)


@by_value
def subscript_changed(text):
    """a_2 for a_1."""
    yield from each(
        r"(?<=[a-z])_\s*\{?(\d)\}?(?!\d)", lambda m: f"_{int(m[1]) + 1}", text
    )


# Names.


@by_value
def name_changed(text):
    """2w+1 for 2x+1."""
    if re.search(r"\\(text|math|operator|begin|mbox)|\(\w\)\s*=", text):
        return
    said = meaning(text)
    if said is None or said.kind not in ("value", "equation", "named"):
        return
    right = text.rpartition("=")[2] if said.kind == "named" else text
    try:
        names = set().union(
            *(referee._names(referee.cleaned(s)) for s in right.split("="))
        )
    except (referee.Unsure, ArithmeticError, ValueError):
        return
    for name in sorted(n for n in names if len(n) == 1 and n not in "CcK"):
        new = next(n for n in "wvqzkt" if n not in text)
        renamed = re.sub(rf"(\\[a-zA-Z]+)|{name}", lambda m, n=new: m[1] or n, text)
        yield renamed


@by_form
def known_name_changed(text):
    """y = 5 for x = 5: two names that are known must agree."""
    said = meaning(text)
    if said is not None and said.kind == "named" and re.match(r"[a-z]\s*=", text):
        if said.parts[0].kind == "value" and len(said.parts[0].parts) == 1:
            yield ("y" if text[0] != "y" else "w") + text[1:]


# Lists, sets, points, intervals, matrices.


@by_value
def coordinates_swapped(text):
    """(2,1) for (1,2)."""
    listed = members(text)
    if listed is None or meaning(text) is None or meaning(text).kind != "tuple":
        return
    opener, parts, closer = listed
    for place in range(len(parts) - 1):
        swapped = [*parts]
        swapped[place : place + 2] = parts[place + 1], parts[place]
        yield opener + ", ".join(swapped) + closer


@by_value
def member_dropped(text):
    """1, 2 for 1, 2, 3."""
    listed = members(text)
    if listed and len(listed[1]) > 1 + (listed[0].strip()[-1:] in ("(", "[")):
        opener, parts, closer = listed
        for place in range(len(parts)):
            yield opener + ", ".join(parts[:place] + parts[place + 1 :]) + closer


@by_value
def member_added(text):
    """1, 2, 7 for 1, 2."""
    listed = members(text)
    if listed and "_" not in text:
        opener, parts, closer = listed
        yield opener + ", ".join([*parts, "7"]) + closer
        yield opener + ", ".join([*parts, "11"]) + closer
        yield opener + ", ".join(["0", *parts]) + closer


@by_value
def member_repeated(text):
    """1, 1 for 1, 2."""
    listed = members(text)
    if listed and len(listed[1]) > 1:
        opener, parts, closer = listed
        for place in range(1, len(parts)):
            yield (
                opener
                + ", ".join([*parts[:place], parts[0], *parts[place + 1 :]])
                + closer
            )


@by_form
def alternative_added(text):
    """ "5 or 7" for 5: a single value never matches a list of several."""
    if meaning(text) and meaning(text).kind in ("value", "named"):
        value = text.rpartition("=")[2].strip()
        more = other(value)
        if "," not in text:
            yield rf"{text} \text{{ or }} {more}"
            yield f"{text} or {more}"
            yield rf"{text} \text{{ and }} {more}"
            yield f"{text}, {more}"
            yield rf"\{{{value}, {more}\}}"
            yield rf"({value}, {more})"


@by_form
def range_around(text):
    """[4, 6] for 5: an interval that holds a value is not the value."""
    value = number(text)
    if isinstance(value, Fraction) and quantity(text)[1] == text and "," not in text:
        low, high = int(value) - 1, int(value) + 2
        yield f"[{low}, {high}]"
        yield rf"({low}, \infty)"
        yield f"{low} < x < {high}"
        yield rf"x \ge {text}"
        yield r"\mathbb{R}"
        if value * high != low:  # a ratio is a quotient
            yield f"{low} to {high}"


@by_form
def interval_end(text):
    """[0, 1) for [0, 1]: an end is open or closed, and half of a point is none."""
    said = meaning(text)
    if said is None or said.kind not in ("tuple", "region"):
        return
    if said.kind == "region" and said.sign:
        return
    if said.kind == "tuple":
        ends = [number(part) for part in (members(text) or ("", [], ""))[1]]
        if len(ends) != 2 or None in ends or not ends[0] < ends[1]:
            return
    swap = {"(": "[", "[": "(", ")": "]", "]": ")"}
    for candidate in [
        *each(r"[(\[](?!\s*-?\s*\\infty)", lambda m: swap[m[0]], text),
        *each(r"(?<!\\infty)(?<!\\infty )(?:\)|\])", lambda m: swap[m[0]], text),
    ]:
        new = meaning(candidate)
        if new is not None and (said.kind == "tuple" or differ(text, candidate)):
            yield candidate


@by_value
def bound_moved(text):
    r"""(2, 100) for (2, \infty)."""
    if meaning(text) is not None and meaning(text).kind == "region":
        yield from each(r"(?<!-)(?<!- )\\infty", "1000", text)
        yield from each(r"-\s*\\infty", "-1000", text)


@by_value
def union_part_dropped(text):
    """(0, 1) for a union of it and another."""
    parts = text.split(r"\cup")
    if len(parts) > 1:
        yield from (r"\cup".join(parts[:p] + parts[p + 1 :]) for p in range(len(parts)))


@by_form
def union_to_intersection(text):
    """The intersection of pieces that are apart is empty."""
    said = meaning(text)
    if r"\cup" in text and said is not None and said.kind == "region":
        yield text.replace(r"\cup", r"\cap")


@by_form
def set_operator(text):
    r"""\notin for \in, \cup for \setminus: another relation or set."""
    swaps = ((r"\in", r"\notin"), (r"\setminus", r"\cup"), (r"\subseteq", r"\supseteq"))
    for one, two in swaps:
        yield from each(rf"{re.escape(one)}(?![a-z])", lambda _, t=two: t, text)


@by_form
def number_system(text):
    r"""\mathbb{Q} for \mathbb{R}."""
    swaps = {"R": "Q", "Z": "N", "N": "Z", "Q": "R", "C": "R"}
    if r"\setminus" not in text:
        yield from each(
            r"\\mathbb\s*\{?([RZNQC])\}?(?![\^_])",
            lambda m: rf"\mathbb{{{swaps[m[1]]}}}",
            text,
        )


@by_form
def emptied(text):
    r"""\emptyset for anything that is not empty."""
    if meaning(text) is not None and meaning(text).parts:
        yield from (r"\emptyset", r"\varnothing", r"\{\}", "\u2205")


@by_form
def made_infinite(text):
    r"""\infty for a finite value."""
    if meaning(text) is not None and meaning(text).kind in ("value", "tuple", "named"):
        yield from (r"\infty", r"-\infty", "\u221e")


@by_form
def made_undefined(text):
    r"""\frac00 for a value: it matches nothing."""
    if meaning(text) is not None and meaning(text).kind in ("value", "named"):
        head, body, tail = quantity(text)
        yield r"\frac{0}{0}"
        yield r"\text{undefined}"
        if "=" not in text:
            yield rf"\frac{{{body}}}{{0}}{tail}"
            yield f"{body}/0{tail}"


@by_value
def plus_minus_to_plus(text):
    r"""1+x for 1\pm x."""
    yield from each(r"\\pm(?![a-z])", "+", text)
    yield from each(r"\\pm(?![a-z])", "-", text)


@by_form
def plus_minus_added(text):
    r"""\pm 5 for 5: a single value never matches two."""
    value = number(text)
    if value and "," not in text and quantity(text)[1] == text and text[0] != "-":
        if len(_terms(text)) == 1:
            yield rf"\pm {text}"


MATRIX = re.compile(r"\\begin\s*\{([pb])matrix\}(.*)\\end\s*\{\1matrix\}", re.DOTALL)


def _rows(text):
    form = MATRIX.fullmatch(text)
    if form is None:
        return None
    body = re.sub(r"\\\\\s*$", "", form[2].strip())
    return [row.strip().split("&") for row in re.split(r"\\\\", body)]


def _matrix(rows, kind="p"):
    body = r" \\ ".join(" & ".join(map(str.strip, row)) for row in rows)
    return rf"\begin{{{kind}matrix}} {body} \end{{{kind}matrix}}"


@by_value
def transposed(text):
    """Rows for columns of a square matrix that is not symmetric."""
    rows = _rows(text)
    if rows and len(rows) == len(rows[0]):
        yield _matrix(list(zip(*rows, strict=True)))


@by_value
def rows_swapped(text):
    """The second row before the first."""
    rows = _rows(text)
    if rows and len(rows) > 1:
        yield _matrix([rows[1], rows[0], *rows[2:]])


@by_form
def row_dropped(text):
    """A matrix of fewer rows."""
    rows = _rows(text)
    if rows and len(rows) > 2:
        yield _matrix(rows[:-1])


@by_form
def matrix_to_determinant(text):
    """A determinant is a number."""
    rows = _rows(text)
    if rows and len(rows) == len(rows[0]) > 1:
        yield _matrix(rows, "v")


# Statements.

RELATION = re.compile(r"\\(?:leq?|geq?|neq?)(?![a-z])|(?<!\\left)(?<!\\right)[<>=]")
FLIPPED = {
    "=": (">", r"\neq", r"\le"), "<": (">", r"\le", "="), ">": ("<", r"\ge", "="),
    r"\le": (r"\ge", "<", "="), r"\leq": (r"\geq", "<", "="), r"\ge": (r"\le", ">"),
    r"\geq": (r"\leq", ">", "="), r"\ne": ("=", "<"), r"\neq": ("=", "<"),
}  # fmt: skip


@by_form
def relation_changed(text):
    """Another relation between the same two sides is another statement."""
    unbound = ("\\sum", "\\int", "\\prod", "\\lim", "infty", "\\text", "mod", "\\Right")
    places = list(RELATION.finditer(text))
    if len(places) != 1 or any(word in text for word in unbound):
        return
    (place,) = places
    left, right = text[: place.start()], text[place.end() :]
    if left.strip() and right.strip() and left.count("{") == left.count("}"):
        yield from (f"{left} {new} {right}" for new in FLIPPED[place[0]])


@by_form
def relation_to_value(text):
    """5 for x > 5, and x = 5 for x > 5."""
    said = meaning(text)
    if said is not None and said.kind == "region" and said.sign:
        places = list(RELATION.finditer(text))
        if len(places) == 1:
            yield text[places[0].end() :].strip()


@by_form
def equation_to_side(text):
    """5 for x + y = 5."""
    said = meaning(text)
    if said is not None and said.kind == "equation":
        left, _, right = text.partition("=")
        if len(_terms(left)) > 1 and referee._names(referee.cleaned(left)):
            yield right.strip()


@by_form
def statement_of_value(text):
    """x > 5, x = y + 5 or x^2 = 5 for 5."""
    value = number(text)
    if value and quantity(text)[1] == text and value not in (0, 1) and "," not in text:
        yield f"x > {text}"
        yield rf"x \neq {text}"
        yield f"x + y = {text}"
        yield f"x < {text}"


@by_form
def ratio_swapped(text):
    """2:1 for 1:2."""
    form = re.fullmatch(r"(\d+)(\s*:\s*|\s*\\colon\s*|\s+to\s+)(\d+)", text)
    if form and form[1] != form[3]:
        yield form[3] + form[2] + form[1]


@by_form
def ratio_member_changed(text):
    """1:3 for 1:2."""
    form = re.fullmatch(r"(\d+)(\s*:\s*)(\d+)((?:\s*:\s*\d+)*)", text)
    if form:
        yield form[1] + form[2] + str(int(form[3]) + 1) + form[4]


# Units, scales, bases.

LENGTHS = {
    "cm": "m", "m": "km", "km": "m", "mm": "cm", "inches": "feet", "feet": "yards",
    "foot": "inches", "miles": "feet", "meters": "centimeters", "centimeters": "meters",
    "hours": "minutes", "minutes": "seconds", "seconds": "hours", "days": "weeks",
    "years": "months", "hour": "minute", "minute": "hour", "weeks": "days",
    "months": "years", "dollars": "cents", "cents": "dollars", "kg": "g", "g": "kg",
    "pounds": "ounces", "ounces": "pounds", "liters": "milliliters",
    "gallons": "quarts",
    "degrees": "radians", "radians": "degrees", "miles per hour": "miles per minute",
    "mph": "kilometers per hour", "grams": "kilograms", "kilometers": "meters",
    "yards": "feet", "inch": "foot", "a.m.": "p.m.", "p.m.": "a.m.", "am": "pm",
    "pm": "am", "AM": "PM", "PM": "AM", "s": "h", "min": "s", "h": "min",
    "nickels": "dimes", "square feet": "square yards", "cubic feet": "cubic inches",
    "square inches": "square feet", "square units": "cubic units",
    "cubic units": "square units", "square meters": "meters",
    "cubic inches": "square inches",
}  # fmt: skip


@by_form
def unit_changed(text):
    """5 m for 5 cm: two known units must agree."""
    head, body, tail = quantity(text)
    if tail and number(text) != 0:
        for unit, new in LENGTHS.items():
            form = re.fullmatch(rf"([\s{{~\\a-z]*[\s{{~])?{re.escape(unit)}(\W*)", tail)
            if form and (form[1] or "").strip(" {~") in (
                "", r"\text", r"\mathrm", r"\mbox", r"\textrm"
            ):  # fmt: skip
                yield head + body + (form[1] or "") + new + form[2]


@by_form
def unit_power_changed(text):
    r"""\text{cm}^3 for \text{cm}^2."""
    yield from each(
        r"(?<=[a-z]\})\^\s*\{?([23])\}?\s*$", lambda m: f"^{5 - int(m[1])}", text
    )


@by_form
def unit_against_sign(text):
    r"""60 radians or 60 kg for 60^\circ, 20 kg for 20%: known signs must agree."""
    head, body, tail = quantity(text)
    if number(text) in (None, 0):
        return
    if re.fullmatch(r"\^\s*(\\circ|\{\\circ\})", tail.strip()):
        yield rf"{body} \text{{ radians}}"
        yield f"{body} radians"
        yield rf"{body} \text{{ cm}}"
    if tail.strip() in ("%", r"\%"):
        yield rf"{body} \text{{ kg}}"
        yield rf"\${body}"
        yield rf"{body}^\circ"
    if head and not tail:
        yield rf"{body}\text{{ cents}}"
        yield rf"{body}\text{{ cm}}"
        yield rf"{body}\%"


@by_form
def scale_added(text):
    """5 million for 5."""
    head, body, tail = quantity(text)
    if number(text) in (None, 0) or re.search("illion|thousand|dozen|hundred", text):
        return
    if not re.fullmatch(r"-?[\d.,]+", body):
        return
    for scale in ("million", "thousand", "dozen", "billion", "hundred"):
        if tail.strip().startswith("\\text"):
            yield rf"{head}{body}\text{{ {scale}}}{tail}"
        elif not tail:
            yield rf"{head}{body} {scale}"
            yield rf"{head}{body}\text{{ {scale}}}"


@by_form
def scale_changed(text):
    """5 billion for 5 million."""
    swaps = {"million": "billion", "thousand": "million", "billion": "million"}
    if re.search(r"\d", text):
        for one, two in swaps.items():
            yield from each(one, two, text)
            yield from each(rf"\s*\\text\{{\s*{one}\}}|\s*{one}", "", text)


@by_form
def base_changed(text):
    """304_8 for 304_7: the same digits in another base."""
    form = re.fullmatch(r"(\d{2,})_\s*(?:(\d)|\{(\d+)\})", text)
    if form:
        yield f"{form[1]}_{{{int(form[2] or form[3]) + 1}}}"


@by_form
def time_changed(text):
    """4:31 for 4:30."""
    yield from each(r"(?<=\d:\d)\d(?!\d)", lambda m: str((int(m[0]) + 1) % 10), text)


# Words and choices.

QUANTIFIERS = {
    "all": "no", "every": "some", "even": "odd", "odd": "even", "always": "never",
    "yes": "no", "no": "yes", "true": "false", "false": "true", "least": "most",
    "most": "least", "positive": "negative", "negative": "positive",
    "finite": "infinite", "infinite": "finite", "increasing": "decreasing",
    "convergent": "divergent", "convex": "concave", "left": "right",
    "prime": "composite",
    "greater": "less", "less": "greater", "integer": "real", "integers": "reals",
    "minimum": "maximum", "maximum": "minimum", "only": "all", "exists": "forall",
}  # fmt: skip


@by_form
def quantifier_changed(text):
    """ "odd" for "even", "no" for "all": the contrary."""
    bare = re.sub(r"\\(left|right)(?![a-z])", "", text)
    if meaning(text) is not None:  # behind a value words are a label
        return
    for one, two in QUANTIFIERS.items():
        yield from each(rf"(?<![a-zA-Z\\]){one}(?![a-zA-Z])", two, bare)
        yield from each(
            rf"(?<![a-zA-Z\\]){one.capitalize()}(?![a-zA-Z])", two.capitalize(), bare
        )
        if one in ("exists",):
            yield from each(rf"\\{one}(?![a-z])", rf"\\{two}", bare)
    yield from each(r"\\forall(?![a-z])", lambda _: r"\exists ", bare)


def _words(text):
    """Returns the words of a text that is nothing but words, or None."""
    bare = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}", r"\1", text)
    letters = re.fullmatch(r"[A-Za-z][A-Za-z' -]*\.?", bare.strip())
    return bare.split() if letters and len(bare.strip()) > 3 else None


@by_form
def negated(text):
    """ "not even" for "even"."""
    words = _words(text)
    if words:
        yield rf"\text{{not {' '.join(words)}}}"
        yield f"not {' '.join(words)}"


@by_form
def letter_dropped(text):
    """ "Evely" for "Evelyn": words must be the same."""
    words = _words(text)
    if words and len(words[-1].strip(".")) > 3:
        yield rf"\text{{{' '.join(words).strip('.')[:-1]}}}"


@by_form
def word_added(text):
    """ "Evelyn or Bob" for "Evelyn"."""
    words = _words(text)
    if words:
        yield rf"\text{{{' '.join(words)} or Bob}}"
        yield rf"\text{{{' '.join(words)}, Bob}}"


CHOICE = re.compile(r"(\\text(?:bf)?\s*\{)?(\()?\s*([A-H])\s*(\))?(\})?")


@by_form
def choice_changed(text):
    """(C) for (B), and two letters for one."""
    form = CHOICE.fullmatch(text)
    if form:
        new = chr(ord(form[3]) + 1)
        yield text.replace(form[3], new)
        yield f"{form[3]}, {new}"
        yield f"({form[3]}) or ({new})"
        yield f"{form[3]}{new}"


# Wrong values beside words: a noun may be added, and must not hide an operator.


def _beside(name, word, sources):
    def rule(text):
        if re.fullmatch(r"-?\d+(/\d+)?", text) or FRACTION.fullmatch(text):
            for source in sources:
                spoiled = RULES[source](text)
                if spoiled is not None:
                    yield spoiled + word

    rule.__name__ = name
    rule.__doc__ = "A wrong value with a noun behind it, which may be left out."
    by_form(rule)


WRONG = [
    "factorial_added", "operator_among_digits", "slash_dropped", "squared",
    "fraction_to_product", "off_by_one", "digits_swapped", "root_added",
    "fraction_inverted", "sign_of_all", "point_added", "digit_dropped",
]  # fmt: skip
_beside("beside_a_noun", r"\text{ ways}", WRONG)
_beside("beside_a_unit", r"\text{ cm}", WRONG)
_beside("beside_a_plain_word", " gallons", WRONG)


def _within_sentence(text):
    """A wrong value behind words that may be left out."""
    if number(text) is not None and quantity(text)[1] == text and "," not in text:
        spoiled = RULES["digit_changed"](text) or RULES["factorial_added"](text)
        if spoiled is not None:
            yield rf"\text{{The answer is }} {spoiled}"
            yield f"n = {spoiled}"
            yield rf"\text{{Total}} = {spoiled}"
            yield f"x = {spoiled}"


_within_sentence.__name__ = "within_a_sentence"
by_form(_within_sentence)
