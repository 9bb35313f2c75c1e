r"""Rules that spoil by what is written around a value: words, signs, neighbors.

The same kinds as in `spoiling`, whose registry they share.
"""

import re
from fractions import Fraction

from support.mutations.referee import _differ, _many, meaning
from support.mutations.spoiling import (
    FRACTION,
    NUMBER,
    _decimal,
    _matrix,
    _rows,
    _words,
    by_form,
    by_value,
    each,
    members,
    number,
    other,
    quantity,
    whole,
)


def bare_number(text):
    """Returns the number that a text without sign or list is, or None."""
    plain = "," not in text and "$" not in text and "=" not in text
    return number(text) if plain and quantity(text)[1] == text else None


def _nontrivial(text):
    value = bare_number(text)
    return value is not None and abs(value) not in (0, 1)


# Words and signs that change the value beside them.


@by_form
def word_of_arithmetic(text):
    """ "5 squared", "twice 5", "half of 5" for 5: words that calculate."""
    if _nontrivial(text):
        for form in (
            r"{} \text{{ squared}}", "{} squared", r"\text{{twice }} {}", "twice {}",
            r"\text{{half of }} {}", "half of {}", r"{} \text{{ and a half}}",
            r"{} \text{{ thousandths}}", "{} halves", r"{} \text{{ plus one}}",
            r"{} \text{{ eight}}", "{} inverse", r"{} \text{{ tenths}}", "{} hundreds",
            r"{} \text{{ doubled}}", r"{} \text{{ gross}}", "{} lakh", "{} times two",
            r"{} \text{{ factorial}}", r"\text{{minus }} {}", "minus {}",
            r"\text{{negative }} {}", "negative {}", r"{} \text{{ plus }} 1",
            r"{} \text{{ times }} 2", r"{} \text{{ to the power }} 2",
            r"\text{{square root of }} {}", r"{} \text{{ cubed}}",
        ):  # fmt: skip
            yield form.format(text)


@by_form
def word_of_bound(text):
    """ "at least 5", "not 5", "less than 5" for 5: no longer the value."""
    if _nontrivial(text):
        for words in (
            "at least", "not", "less than", "more than", "at most", "greater than",
            "no more than", "anything but", "neither", "above", "below",
        ):  # fmt: skip
            yield rf"\text{{{words} }} {text}"
            yield f"{words} {text}"


@by_form
def word_of_two(text):
    """ "5 of 9", "5 to 9", "5 out of 9", "5 by 9" for 5: two values."""
    if _nontrivial(text):
        more = other(text)
        for words in ("of", "out of", "to", "by", "per", "versus", "in"):
            yield rf"{text} \text{{ {words} }} {more}"
            yield f"{text} {words} {more}"


@by_form
def hidden_in_text(text):
    r"""5\text{!}, 5\text{/9} and 5\text{0} for 5: what \text holds is written too."""
    if _nontrivial(text) and whole(text) not in (None, 2, -2):
        for tail in ("!", "/9", "0", ".5", "^2", " + 1", " or 9", " - 1", " 9", "%9"):
            yield rf"{text}\text{{{tail}}}"
        for head in ("-", "1", "9/", "1 + ", "2 \\cdot "):
            yield rf"\text{{{head}}}{text.lstrip('-')}" if text[0] != "-" else text


@by_form
def neighbor(text):
    r"""5 \quad 9, 5 \\ 9, 5 | 9 for 5: two values."""
    if _nontrivial(text):
        more = other(text)
        for sign in (
            r" \quad ", r" \\ ", " & ", " | ", r" \mid ", "; ", r" \to ", r" \mapsto ",
            r" \rightarrow ", r" \vee ", r" \text{ }", " ~ ", r" \sim ", r" \oplus ",
            r" \circ ", r" \ast ", r" \star ", " @ ", " # ", " ? ", r" \wedge ", " : ",
            r" \perp ", r" \parallel ", r" \bullet ", r"\ldots ", " .. ",
        ):  # fmt: skip
            yield f"{text}{sign}{more}"


@by_form
def decorated(text):
    r"""5', \overline{5}, \hat{5}, 5^* for 5: other objects."""
    if _nontrivial(text) and whole(text) is not None:
        yield f"{text}'"
        yield rf"\hat{{{text}}}"
        yield rf"\vec{{{text}}}"
        yield f"{text}^*"
        yield rf"\not{{{text}}}"
        yield rf"\neg {text}"
        yield rf"\sim {text}"
        yield rf"\neq {text}"
        yield rf"\ge {text}"
        yield f"< {text}"
        yield f"{text}+"
        yield f"{text}-"
        yield f"{text}..."
        yield rf"{text}, \ldots"
        yield rf"\cancel{{{text}}}"


@by_form
def unicode_power_added(text):
    """5\u00b9\u2070, 5\u00b2, 5\u207b\u00b9 for 5."""
    if _nontrivial(text):
        for power in ("\u00b2", "\u00b9\u2070", "\u2070", "\u207b\u00b9", "\u207f"):
            yield (text if whole(text) is not None else f"({text})") + power


@by_form
def unicode_sign_added(text):
    """5\u00bd, \u221a5, 5\u2032, 5\u2030, 5\u203c for 5."""
    if _nontrivial(text) and whole(text) is not None:
        yield f"{text}\u00bd"
        yield f"\u221a{text}"
        yield f"\u221b{text}"
        yield f"{text}\u203c"
        yield f"{text}\u2030"
        yield f"\u00ac{text}"
        yield f"\u2260{text}"
        yield f"{text}\u2026"
        yield f"{text}\u00f79"
        yield f"{text}\u20444"
        yield f"\u00b1{text}" if text[0] != "-" else text


@by_form
def exponent_notation_added(text):
    """5e3 for 5."""
    if _nontrivial(text) and whole(text) is not None:
        yield from (f"{text}e3", f"{text}E2", f"{text}e-1", rf"{text} \times 10^{{3}}")


@by_form
def other_digits(text):
    """Full-width or Arabic digits of another number."""
    if whole(text) is not None:
        value = abs(whole(text)) + 1
        yield "".join(chr(0xFF10 + int(digit)) for digit in str(value))
        yield "".join(chr(0x0660 + int(digit)) for digit in str(value))


@by_form
def digits_in_circles(text):
    """5 and a circled 6 are two things."""
    if whole(text) is not None:
        yield f"{text}\u2465"


# Numbers.


@by_form
def groups_wrong(text):
    """12,34 or "12 34" for 1234: groups of digits have three."""
    form = re.fullmatch(r"([1-9]\d*)(\d\d)", text)
    if form:
        yield f"{form[1]},{form[2]}"
        yield f"{form[1]} {form[2]}"
        yield f"{form[1]}{{,}}{form[2]}"
        yield rf"{form[1]}\,{form[2]}"
        yield f"{form[1]};{form[2]}"


@by_form
def leading_digits(text):
    """ "3 12" and "1 312" for 12: two numbers, or another one."""
    if whole(text) is not None and text[0] != "-":
        yield from (f"3 {text}", f"3,{text}", rf"3\,{text}", f"3{text}", f"{text}3")


@by_value
def difference_turned(text):
    """b-a for a-b."""
    form = re.fullmatch(r"([\w\\{}^]+)\s*-\s*([\w\\{}^]+)", text)
    if form:
        yield f"{form[2]} - {form[1]}"


@by_value
def power_turned(text):
    """3^2 for 2^3."""
    yield from each(
        r"(?<![\d.])(\d+)\^\s*(?:\{(\d+)\}|(\d))",
        lambda m: f"{m[2] or m[3]}^{{{m[1]}}}",
        text,
    )


@by_value
def mixed_to_product(text):
    r"""3 \cdot \frac12 for 3\frac12."""
    yield from each(
        r"(?<![\d.])(\d+)\s*(?=\\[dt]?frac\s*\{\d+\}\s*\{\d+\})",
        lambda m: rf"{m[1]} \cdot ",
        text,
    )


@by_value
def absolute_value_of_terms(text):
    """Every minus a plus."""
    if "-" in text and r"\text" not in text:
        yield text.replace("-", "+").removeprefix("+")


@by_value
def reciprocal(text):
    """1/5 for 5."""
    _, body, tail = quantity(text)
    yield rf"\frac{{1}}{{{body}}}{tail}"
    yield f"({body})^{{-1}}{tail}"
    if whole(body) is not None:
        yield f"1/{body}{tail}"


@by_value
def doubled(text):
    """10 for 5, and 5/2."""
    _, body, tail = quantity(text)
    yield rf"2 \cdot ({body}){tail}"
    yield rf"\frac{{{body}}}{{2}}{tail}"
    yield f"{body}/2{tail}"


@by_value
def one_more(text):
    """5+1 and 5-1 for 5, unfinished."""
    _, body, tail = quantity(text)
    yield f"{body}+1{tail}"
    yield f"1+{body}{tail}"
    yield f"{body}-1{tail}"
    yield rf"{body} + 10^{{-9}}{tail}"


@by_value
def argument_changed(text):
    r"""\ln 3 for \ln 2."""
    yield from each(
        r"(\\(?:sin|cos|tan|ln|log|arctan|exp)\s*[({]?\s*)(\d+)",
        lambda m: m[1] + str(int(m[2]) + 1),
        text,
    )


@by_value
def logarithm_base(text):
    r"""\log_3 5 for \log_2 5."""
    yield from each(r"\\log_\{?(\d+)\}?", lambda m: rf"\log_{{{int(m[1]) + 1}}}", text)


@by_value
def name_case(text):
    """X for x: two names."""
    if re.search(r"\\(text|math|operator|begin|mbox)|\(\w\)\s*=", text):
        return
    if meaning(text) is not None and meaning(text).kind in ("value", "equation"):
        for name in sorted(
            set(re.findall(r"(?<![a-zA-Z\\])[abmnpqxyz](?![a-zA-Z])", text))
        ):
            yield re.sub(
                rf"(\\[a-zA-Z]+)|{name}", lambda m, n=name: m[1] or n.upper(), text
            )


# Collections.


@by_form
def named_in_wrong_order(text):
    """ "y = 1, x = 2" for (1, 2): a value belongs to its name."""
    listed = members(text)
    said = meaning(text)
    if said is None or said.kind != "tuple" or not listed or "=" in text:
        return
    if len(listed[1]) == 2 and listed[0].strip().endswith("(") and _unlike(said):
        first, second = listed[1]
        if not re.search(r"(?<![\\a-z])[xyab]", text):
            yield f"y = {first}, x = {second}"
            yield f"x = {second}, y = {first}"
            yield rf"x = {second} \text{{ and }} y = {first}"


def _unlike(said):
    return _differ(said.parts[0], said.parts[1])


@by_form
def names_exchanged(text):
    """ "x = 2, y = 1" for "x = 1, y = 2"."""
    form = re.fullmatch(r"([a-z])\s*=\s*(-?\d+)\s*,\s*([a-z])\s*=\s*(-?\d+)", text)
    if form and form[2] != form[4] and form[1] != form[3]:
        yield f"{form[1]} = {form[4]}, {form[3]} = {form[2]}"
        yield f"[{form[2]}, {form[4]}]"
        yield f"({form[4]}, {form[2]})"


@by_value
def pairs_regrouped(text):
    """(1,4), (3,2) for (1,2), (3,4)."""
    form = re.fullmatch(r"\(([^(),]+),([^(),]+)\)\s*,\s*\(([^(),]+),([^(),]+)\)", text)
    if form:
        a, b, c, d = (part.strip() for part in form.groups())
        yield f"({a}, {d}), ({c}, {b})"
        yield f"({b}, {a}), ({d}, {c})"
        yield f"({a}, {b}), ({d}, {c})"


@by_form
def brackets_of_pairs_dropped(text):
    """(1, 2, 3, 4) for (1, 2), (3, 4)."""
    form = re.fullmatch(r"\(([^(),]+),([^(),]+)\)\s*,\s*\(([^(),]+),([^(),]+)\)", text)
    if form:
        yield f"({', '.join(part.strip() for part in form.groups())})"
        yield f"{', '.join(part.strip() for part in form.groups())}"


@by_form
def matrix_flattened(text):
    """(1, 2, 3, 4) for a matrix of two rows and columns."""
    rows = _rows(text)
    if rows and len(rows) > 1 and len(rows[0]) > 1:
        cells = [cell.strip() for row in rows for cell in row]
        yield f"({', '.join(cells)})"
        yield _matrix([cells])
        yield _matrix([[cell] for cell in cells])


@by_form
def exclusion_dropped(text):
    r"""\mathbb{R} for x \ne 1."""
    form = re.fullmatch(r"([a-z])\s*\\neq?\s*(-?\d+)", text)
    if form:
        yield from (
            r"\mathbb{R}",
            r"\text{all real numbers}",
            rf"{form[1]} = {form[2]}",
        )
        yield r"(-\infty, \infty)"
        yield rf"({form[2]}, \infty)"
    if re.fullmatch(r".*\\infty,[^,]*\)\s*\\cup\s*\([^,]*,\s*\\infty\s*\)", text):
        yield from (r"\mathbb{R}", r"(-\infty, \infty)")


@by_form
def bars_dropped(text):
    """x < 3 for |x| < 3."""
    form = re.fullmatch(r"\|([a-z])\|\s*(=|<|>|\\leq?|\\geq?)\s*(.+)", text)
    if form:
        yield f"{form[1]} {form[2]} {form[3]}"


@by_form
def point_to_interval(text):
    """[3, 5) for the point (3, 5), and a set of one for it."""
    said = meaning(text)
    listed = members(text)
    if said is not None and said.kind == "tuple" and listed and len(listed[1]) == 2:
        if listed[0].strip().endswith("("):
            first, second = listed[1]
            yield f"({first}, {second}]"
            yield f"[{first}, {second})"
            yield f"{first} < x \\le {second}"


@by_form
def part_of_point(text):
    """1 for (1, 2): a coordinate is not the point."""
    said = meaning(text)
    listed = members(text)
    if said is not None and said.kind == "tuple" and listed:
        yield from listed[1]
        yield rf"x = {listed[1][0]}"


@by_form
def member_of_many(text):
    """1 for 1, 2: a member is not the list."""
    said = meaning(text)
    listed = members(text)
    if said is not None and said.kind == "set" and listed and len(said.parts) > 1:
        if _many(said):
            yield listed[1][0]
            yield listed[1][-1]


@by_form
def place_changed(text):
    """f(3) = 5 for f(2) = 5."""
    yield from each(
        r"^([a-zA-Z])\((\d+)\)(?=\s*=\s*[^=]*$)",
        lambda m: f"{m[1]}({int(m[2]) + 1})",
        text,
    )


# Units and signs.


@by_form
def unit_part_dropped(text):
    """5 miles for 5 miles per hour, 5 m for 5 m^2."""
    head, body, tail = quantity(text)
    if number(text) in (None, 0):
        return
    yield from each(r"\s*(per|/)\s*(hour|second|minute|h|s|hr)(?=\})", "", text)
    if re.search(r"\\(text|mathrm)\{[~ ]*(cm|m|km|ft|in|inches|feet|mm)\s*\}\^", tail):
        yield head + body + re.sub(r"\^\s*\{?\d\}?\s*$", "", tail)


@by_form
def unit_power_added(text):
    """5 cm^2 for 5 cm."""
    head, body, tail = quantity(text)
    if number(text) not in (None, 0):
        if re.fullmatch(
            r"\s*\\(text|mathrm|mbox)\{[~ ]*(cm|m|km|ft|in|mm|inches|feet|meters|"
            r"centimeters|units)\s*\}\s*",
            tail,
        ):
            yield f"{head}{body}{tail}^2"
            yield f"{head}{body}{tail}^3"


@by_form
def unit_converted_wrong(text):
    """2000 mm for 20 cm."""
    head, body, tail = quantity(text)
    value = number(text)
    steps = {
        "cm": ("m", 100), "m": ("cm", 10), "km": ("m", 100), "hours": ("minutes", 100),
        "minutes": ("seconds", 100), "feet": ("inches", 10), "inches": ("feet", 1),
        "meters": ("centimeters", 10), "days": ("hours", 12), "kg": ("g", 100),
        "dollars": ("cents", 10), "degrees": ("radians", 1), "hour": ("minutes", 100),
    }  # fmt: skip
    form = re.fullmatch(r"\s*\\(?:text|mathrm)\{[~ ]*([a-z]+)\s*\}\s*", tail)
    if form and form[1] in steps and isinstance(value, Fraction) and value:
        unit, factor = steps[form[1]]
        if _decimal(value * factor):
            yield rf"{_decimal(value * factor)}\text{{ {unit}}}"


@by_form
def percent_scaled(text):
    r"""0.2\% and 2000\% for 20\%: with both signs nothing is left out."""
    _, body, tail = quantity(text)
    value = number(text)
    if isinstance(value, Fraction) and value and tail.strip() in ("%", r"\%"):
        yield rf"{_decimal(value / 100) or text}\%"
        yield rf"{_decimal(value * 100) or text}\%"
        yield rf"{_decimal(value * 10) or text}"
        yield rf"{_decimal(value / 10000) or text}"
        yield rf"{_decimal(value * 100) or text}"


@by_form
def currency_changed(text):
    r"""5 euros or 5 cents for \$5."""
    form = re.fullmatch(r"\\\$\s*([\d.,]+)", text)
    if form and number(text) != 0:
        yield rf"{form[1]}\text{{ euros}}"
        yield rf"{form[1]}\text{{ cents}}"
        yield f"\u20ac{form[1]}"
        yield f"\u00a3{form[1]}"
        yield f"{form[1]}\u00a2"


@by_form
def scale_behind_currency(text):
    r"""\$5 million for 5 and for \$5."""
    form = re.fullmatch(r"(?:\\\$)?\s*(\d+(?:\.\d+)?)", text)
    if form and float(form[1]):
        yield rf"\${form[1]} million"
        yield rf"\${form[1]}\text{{ billion}}"
        yield rf"\${form[1]}\text{{ thousand}}"
        yield f"{form[1]}M"
        yield f"{form[1]}K"
        yield rf"{form[1]}\text{{ million dollars}}"
        yield f"{form[1]} million dollars"
        yield rf"{form[1]}\text{{ hundred}}"
        yield f"{form[1]} percent of 7"
        yield f"{form[1]} dozen"


@by_form
def scale_beside_words(text):
    r"""5\text{ million ways} for 5\text{ ways} and for 5."""
    head, body, tail = quantity(text)
    if re.fullmatch(r"\d+", body) and int(body) and not head:
        if not tail:
            yield rf"{body}\text{{ million ways}}"
            yield f"{body} million people"
            yield rf"{body}\text{{ dozen eggs}}"
            yield rf"{body}\text{{ hundred ways}}"
        noun = re.fullmatch(r"\s*\\(?:text|mbox)\{\s*([a-z ]+?)\s*\}", tail)
        if noun and not re.search("illion|thousand|dozen|hundred", tail):
            yield rf"{body}\text{{ million {noun[1]}}}"
            yield rf"{body}\text{{ thousand {noun[1]}}}"
            yield rf"{body} \text{{ dozen {noun[1]}}}"


# Texts that the referee cannot read: another operator between the same letters.

SYMMETRIC = re.compile(
    r"\\(?:sin|cos|tan|pi|pm|mp|bmod|pmod|equiv|mod)(?![a-z])|\(-1\)|\|"
)


def unread(text):
    """Whether a text is mathematics that the referee does not read."""
    return (
        meaning(text) is None
        and len(text) < 200
        and not SYMMETRIC.search(text)
        and _words(text) is None
        and not re.search(r"[<>].*and|,.*[<>]|[<>].*,", text)
        and bool(re.search(r"\d|\\[a-z]", text))
    )


@by_form
def unread_sign(text):
    """a-b for a+b, in a text that the referee cannot read."""
    if unread(text):
        yield from each(r"(?<=[\w})\s])\+(?!\s*[Cc]\b)", "-", text)
        yield from each(r"(?<=[\w})])\s*-\s*(?=[\d\\a-z])", "+", text)


@by_form
def unread_power(text):
    """2k for 2^k, in a text that the referee cannot read."""
    if unread(text):
        yield from each(r"(?<=[\w)}])\^(?!\s*\{?(?:\\circ|\\text|['1TC*]))", "", text)


@by_form
def unread_factorial(text):
    """5! for 5, in a text that the referee cannot read."""
    if unread(text):
        yield from each(
            r"(?<![\d.,:_{(])(?:[3-9]|[1-9]\d+)(?![\d.!,:_)}])",
            lambda m: m[0] + "!",
            text,
        )


@by_form
def unread_digit(text):
    """6 for 5, in a text that the referee cannot read."""
    if unread(text):
        yield from each(r"\d", lambda m: str((int(m[0]) + 1) % 10), text)


@by_form
def unread_slash(text):
    """34 for 3/4, in a text that the referee cannot read."""
    if unread(text):
        yield from each(r"(?<=\d)\s*/\s*(?=\d)", "", text)
        yield from each(FRACTION, lambda m: f"{m[1]} {m[2]}", text)


@by_form
def unread_minus(text):
    """5 for -5, in a text that the referee cannot read."""
    if unread(text):
        yield from each(r"(?:^|(?<=[=(,{]))\s*-\s*(?=[\d\\a-z])", "", text)


@by_form
def domain_changed(text):
    r"""(1, \infty) for the integers above 1, reals for complex numbers."""
    form = re.fullmatch(
        r"\\\{\s*(\w)\s*\\in\s*\\mathbb\{?([ZNCQ])\}?\s*(?:\\mid|:|\|)(.*)\\\}", text
    )
    if form:
        yield rf"\{{{form[1]} \in \mathbb{{R}} \mid{form[3]}\}}"
        yield form[3].strip()


@by_form
def parity_lost(text):
    """1 for (-1)^n, and (-1)^{2n}."""
    if "(-1)^n" in text or "(-1)^{n}" in text:
        for new in (
            "(-1)^{2n}",
            "(-1)^{n+1}",
            r"\sqrt{(-1)^n}",
            "(-1)^{n(n+1)}",
            "(1)",
        ):
            yield re.sub(r"\(-1\)\^(n|\{n\})", lambda _, t=new: t, text)


@by_form
def constants_compared(text):
    """1 < 2 < 3 for another true statement of numbers."""
    if re.fullmatch(
        r"[^a-zA-Z\\]*<[^a-zA-Z\\]*|(\\frac|[\d{}<\s])+<(\\frac|[\d{}\s<])+", text
    ):
        yield "1 < 2 < 3"
        yield "1 < 2"


@by_form
def unread_interval(text):
    """[0, 1) for (0, 1), in a text that the referee cannot read."""
    if unread(text) and re.search(r"\\in(?![a-z])|\\cup|seconds", text):
        yield from each(r"\((?=[^()]*,[^()]*\))(?!\s*-\s*\\inf)", "[", text)
        yield from each(r"\[(?=[^()\[\]]*,)", "(", text)


@by_form
def numbers_exchanged(text):
    """ "A is 6, B is 5" for "A is 5, B is 6"."""
    found = list(NUMBER.finditer(text))
    letters = re.search(r"[A-Z]\w*\s*(?:=|is|:)\s*\d", text)
    if r" or " in text or len(found) != 2:
        return
    if letters and found[0][0] != found[1][0] and unread(text):
        a, b = found
        yield (
            text[: a.start()]
            + b[0]
            + text[a.end() : b.start()]
            + a[0]
            + text[b.end() :]
        )
