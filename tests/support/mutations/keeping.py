r"""Rules that show an answer differently and keep what it means.

A rule is a function of a gold that returns a whole response, or None where it does not
apply. `around` rules frame the answer; `inside` rules spell it, and then it stands in a
box. Where a rule calculates, the referee has to agree; the others keep the meaning by
the argument in their docstring, under the policy of `maspo_jax/rewards/README.md`.
"""

import random
import re
from fractions import Fraction

from support.mutations.referee import agree, meaning
from support.mutations.spoiling import (
    CHOICE,
    FRACTION,
    MATRIX,
    SLASH,
    _decimal,
    _matrix,
    _rows,
    _terms,
    _words,
    core,
    each,
    members,
    number,
    quantity,
    whole,
)

RULES = {}  # name -> function of a gold, to a response or None
BACKSLASH = "\\"
MARKED = re.compile(r"\$|\\[(\[]|\n")  # mathematics marked already, or lines


def around(rule):
    """Registers a rule that frames an answer and returns a response."""

    def show(gold):
        text = core(gold)
        return None if "boxed" in text else rule(text)

    show.__doc__ = rule.__doc__
    RULES[rule.__name__] = show
    return rule


def inside(rule):
    """Registers a rule that yields other spellings of an answer."""
    return _spelling(rule, lambda text, new: True)


def calculated(rule):
    """Registers a rule that yields other forms of a value; the referee must agree."""
    return _spelling(rule, agree)


def _spelling(rule, certain):
    def show(gold):
        text = core(gold)
        if "boxed" in text:
            return None
        candidates = [new for new in dict.fromkeys(rule(text)) if new != text]
        random.Random(f"{rule.__name__} {gold}").shuffle(candidates)
        for new in candidates[:6]:
            if certain(text, new):
                return rf"So we get \boxed{{{new}}}."
        return None

    show.__doc__ = rule.__doc__
    RULES[rule.__name__] = show
    return rule


def kind(text):
    """Returns the kind of a meaning, or None where the referee reads none."""
    said = meaning(text)
    return said and said.kind


def bare(text):
    """Whether a text is a value without any sign, list or statement."""
    plain = not re.search(r"[,$]|[A-Za-z]{2}", _commands(text))
    plain = plain and not CHOICE.fullmatch(text)
    return plain and kind(text) == "value" and quantity(text)[1] == text


# Frames.


@around
def boxed(text):
    """The answer itself."""
    return rf"So we get \boxed{{{text}}}."


@around
def boxed_in_display(text):
    """A display on lines of its own."""
    return f"We are done:\n\\[\n\\boxed{{{text}}}\n\\]\n"


@around
def boxed_in_dollars(text):
    """In mathematics of a line."""
    return rf"Therefore $\boxed{{{text}}}$"


@around
def boxed_with_blanks(text):
    """Blanks after the command and inside the box."""
    return f"So $\\boxed {{ {text} }}$."


@around
def framed(text):
    r"""\fbox for \boxed."""
    return rf"So we get \fbox{{{text}}}."


@around
def boxed_twice(text):
    """A box within a box."""
    return rf"So we get \boxed{{\boxed{{{text}}}}}."


@around
def boxed_in_bold(text):
    """Bold letters of Markdown around the box."""
    return rf"**$\boxed{{{text}}}$**"


@around
def dollars_in_box(text):
    """Mathematics marked inside the box."""
    return rf"So we get \boxed{{${text}$}}." if not MARKED.search(text) else None


@around
def parentheses_in_box(text):
    """Mathematics marked inside the box, the other way."""
    return rf"So we get \boxed{{\({text}\)}}." if not MARKED.search(text) else None


@around
def after_reasoning(text):
    """Reasoning with another box before."""
    return f"<think>\nMaybe \\boxed{{0}}?\n</think>\n\nIt is \\boxed{{{text}}}."


@around
def after_another_box(text):
    """An earlier box that is given up."""
    return f"At first \\boxed{{99}}, which fails.\n\nSo it is \\boxed{{{text}}}."


@around
def statement(text):
    """A sentence that states the answer."""
    return f"We add. The answer is ${text}$." if not MARKED.search(text) else None


@around
def final_statement(text):
    """A sentence that states the final answer."""
    return (
        f"We add.\n\nThe final answer is: ${text}$" if not MARKED.search(text) else None
    )


@around
def answer_line(text):
    """A line that begins with Answer."""
    return f"We add.\n\nAnswer: ${text}$" if not MARKED.search(text) else None


@around
def bold_answer_line(text):
    """A line whose label is bold."""
    return f"We add.\n\n**Answer:** ${text}$" if not MARKED.search(text) else None


@around
def heading(text):
    """A heading of Markdown before a box."""
    return f"## Final Answer\n\n$$\\boxed{{{text}}}$$\n"


@around
def hashes(text):
    """As the solutions of GSM8K end."""
    return f"We add.\n#### {text}" if "\n" not in text else None


@around
def answer_tag(text):
    """As templates with tags ask for it."""
    return f"<think>\nWe add.\n</think>\n<answer>{text}</answer>"


@around
def nothing_else(text):
    """A response that is the answer."""
    return f"${text}$" if not MARKED.search(text) else None


@around
def sentence_behind(text):
    """A sentence after the box."""
    return f"Thus \\boxed{{{text}}}. This completes the solution."


# Spacing and type.


@inside
def period(text):
    """A sentence ends in a period."""
    if not text.endswith("."):
        yield f"{text}."


@inside
def displaystyle(text):
    """A size of type."""
    yield rf"\displaystyle {text}"


@inside
def blanks_added(text):
    """Blanks around operators mean nothing."""
    grouped = re.search(r"\d\s*:\s*\d|,\s*(?:\\!)?\s*\d{3}|[a-z]{3}", _commands(text))
    if r"\text" not in text and not grouped:
        yield re.sub(r"(?<=[\w)}])\s*([+=])\s*(?=[\w(\\])", r" \1 ", text)
        yield re.sub(r",(?!\\!|\})(?!\d{3}(?!\d))\s*", ",  ", text)


@inside
def blanks_dropped(text):
    """Blanks beside operators and brackets mean nothing."""
    if r"\text" not in text and r"\m" not in text and r"\!" not in text:
        yield re.sub(r"\s*([+=,<>(){}\[\]])\s*(?!\d{3}\b)", r"\1", text)


@inside
def thin_space(text):
    r"""\, beside an operator and behind the answer."""
    if r"\text" not in text:
        yield re.sub(r"\s*([+=])\s*(?=[\w(\\])", r"\,\1\, ", text)
    yield text + r"\,"


@inside
def quad_behind(text):
    r"""\quad, \; or \! behind the answer."""
    if not text.endswith("."):
        yield from (text + r"\quad", text + r"\;", text + "~")


@inside
def braces(text):
    """A group means what is in it."""
    if r"\begin" not in text and "=" not in text and "," not in text:
        yield f"{{{text}}}"


@inside
def brackets(text):
    """Brackets around one value group."""
    if bare(text):
        yield f"({text})"
        yield rf"\left({text}\right)"


@inside
def left_right(text):
    r"""\left and \right are sizes."""
    if r"\left" not in text and r"\big" not in text.lower():
        if kind(text) in ("tuple", "value", "equation") or text.count("(") == 1:
            if re.search(r"\(.*\)", text) and "[" not in text:
                yield text.replace("(", r"\left(").replace(")", r"\right)")


@inside
def left_right_dropped(text):
    r"""( for \left(."""
    if r"\left" in text and not re.search(r"\\(left|right)\s*[.<>|]", text):
        yield re.sub(r"\\(left|right)(?![a-z])\s*", "", text)


@inside
def bold(text):
    r"""Bold type: \mathbf, \boldsymbol."""
    if re.fullmatch(r"-?[\d.]+", text):
        yield rf"\mathbf{{{text}}}"
        yield rf"\boldsymbol{{{text}}}"
        yield rf"\textbf{{{text}}}"
        yield rf"\bf {text}"


@inside
def upright(text):
    r"""\mathrm or \text around a number."""
    if re.fullmatch(r"-?[\d.]+", text):
        yield rf"\text{{{text}}}"
        yield rf"\mathrm{{{text}}}"


@inside
def markdown_bold(text):
    """Bold of Markdown within the box."""
    if re.fullmatch(r"-?[\d.]+", text):
        yield f"**{text}**"


def _commands(text):
    return re.sub(r"\\[a-zA-Z]+", "", text)


# Fractions and decimals.


@inside
def dfrac(text):
    r"""\dfrac for \frac."""
    yield re.sub(r"\\[tc]?frac(?![a-z])", lambda _: r"\dfrac", text)


@inside
def tfrac(text):
    r"""\tfrac for \frac."""
    yield re.sub(r"\\[dc]?frac(?![a-z])", lambda _: r"\tfrac", text)


@inside
def frac(text):
    r"""\frac for \dfrac."""
    yield re.sub(r"\\[dct]frac(?![a-z])", lambda _: r"\frac", text)


@inside
def frac_without_braces(text):
    r"""\frac12 for \frac{1}{2}."""
    yield re.sub(r"frac\{(\d)\}\{(\d)\}(?!\d)", r"frac\1\2", text)
    yield re.sub(r"frac\{(\d)\}\{(\d\d+)\}", r"frac\1{\2}", text)


@calculated
def slash_for_frac(text):
    r"""1/2 for \frac{1}{2}."""
    yield from each(r"\\[dtc]?frac\{(\d+)\}\{(\d+)\}", lambda m: f"{m[1]}/{m[2]}", text)
    yield from each(
        FRACTION,
        lambda m: f"(({m[1]})/({m[2]}))" if m[2][0] != "d" else None,  # a derivative
        text,
    )


@calculated
def frac_for_slash(text):
    r"""\frac{1}{2} for 1/2."""
    yield from each(SLASH, lambda m: rf"\frac{{{m[1]}}}{{{m[2]}}}", text)


@calculated
def decimal_for_fraction(text):
    """0.5 for 1/2, where it ends."""
    value = number(text)
    _, body, tail = quantity(text)
    if isinstance(value, Fraction) and "." not in body and value.denominator > 1:
        if _decimal(value):
            yield _decimal(value) + tail


@calculated
def fraction_for_decimal(text):
    r"""\frac{1}{2} for 0.5."""
    value = number(text)
    head, body, tail = quantity(text)
    if isinstance(value, Fraction) and "." in body and not head:
        sign = "-" if value < 0 else ""
        top, bottom = abs(value.numerator), value.denominator
        yield rf"{sign}\frac{{{top}}}{{{bottom}}}{tail}"
        if not tail:
            yield f"{sign}{top}/{bottom}"


@calculated
def unreduced(text):
    r"""\frac{2}{4} for \frac{1}{2}."""
    yield from each(
        r"(\\[dt]?frac)\{(\d+)\}\{(\d+)\}",
        lambda m: f"{m[1]}{{{2 * int(m[2])}}}{{{2 * int(m[3])}}}",
        text,
    )


@calculated
def mixed_number(text):
    r"""3\frac{1}{2} for \frac{7}{2}."""
    form = re.fullmatch(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", text)
    if form:
        more, rest = divmod(int(form[1]), int(form[2]))
        if more and rest:
            yield rf"{more}\frac{{{rest}}}{{{form[2]}}}"
            yield rf"{more} \frac{{{rest}}}{{{form[2]}}}"


@calculated
def repeating_decimal(text):
    r"""0.\overline{3} for 1/3."""
    value = number(text)
    if not isinstance(value, Fraction) or value < 0 or quantity(text)[1] != text:
        return
    for length in range(1, 7):
        if value.denominator > 1 and (10**length - 1) % value.denominator == 0:
            more, rest = divmod(value, 1)
            digits = int(rest * (10**length - 1))
            yield rf"{more}.\overline{{{digits:0{length}}}}"
            return


@calculated
def minus_in_numerator(text):
    r"""\frac{-1}{2} for -\frac{1}{2}."""
    yield re.sub(r"^-\s*(\\[dt]?frac)\{", r"\1{-", text)
    yield re.sub(r"^(\\[dt]?frac)\{-(\d+)\}", r"-\1{\2}", text)


@calculated
def zero_before_point(text):
    """.5 for 0.5, 0.5 for .5."""
    yield re.sub(r"(?<!\d)0(?=\.\d)", "", text)
    yield re.sub(r"(?<!\d)\.(?=\d)", "0.", text)


@calculated
def zeros_behind_point(text):
    """0.50 for 0.5, 5.0 for 5."""
    if re.fullmatch(r"-?\d*\.\d+", text):
        yield text + "0"
    if whole(text) is not None:
        yield text + ".0"
        yield text + ".00"


@calculated
def scientific(text):
    r"""1.2\times 10^{3} for 1200."""
    form = re.fullmatch(r"(-?\d)(\d*?)(0{2,})", text)
    if form:
        power = len(form[2]) + len(form[3])
        lead = form[1] + ("." + form[2] if form[2] else "")
        yield rf"{lead} \times 10^{{{power}}}"
        yield rf"{lead} \cdot 10^{{{power}}}"


def _grouped(text, sign):
    form = re.fullmatch(r"(-?\d+)(\.\d+)?", text)
    if form and len(form[1].lstrip("-")) > 3:
        return f"{int(form[1]):,}".replace(",", sign) + (form[2] or "")
    return text


@inside
def thousands_comma(text):
    """12,345 for 12345."""
    yield _grouped(text, ",")


@inside
def thousands_braces(text):
    """12{,}345 for 12345."""
    yield _grouped(text, "{,}")


@inside
def thousands_space(text):
    r"""12\,345 for 12345."""
    yield _grouped(text, r"\,")


@inside
def thousands_negative_space(text):
    r"""12,\!345 for 12345."""
    yield _grouped(text, r",\!")


@inside
def thousands_dropped(text):
    """12345 for 12,345."""
    if re.fullmatch(r"(\\\$)?-?\d{1,3}(,|\{,\}|,\\!)\d{3}((,|\{,\}|,\\!)\d{3})*", text):
        yield re.sub(r",\\!|\{,\}|,", "", text)


# Arithmetic.


@calculated
def sum_reordered(text):
    """b+a for a+b."""
    head, equals, tail = text.rpartition("=")
    if r"\text" in text or r"\begin" in text or r"\left" in text:
        return
    terms = [term.strip() for term in _terms(tail.strip())]
    if 1 < len(terms) < 6 and "," not in tail and not re.search(r"[<>:]|\\[lg]e", tail):
        first = terms[0] if terms[0][0] in "+-" else "+" + terms[0]
        yield head + equals + "".join([*terms[1:], first]).removeprefix("+")


@calculated
def product_reordered(text):
    r"""\sqrt3 \cdot 2 for 2\sqrt3."""
    form = re.fullmatch(r"(-?)(\d+)\s*(\\sqrt\{\d+\}|\\pi|[a-z])", text)
    if form:
        yield rf"{form[1]}{form[3]} \cdot {form[2]}"
        yield rf"{form[1]}{form[2]} \cdot {form[3]}"
    form = re.fullmatch(r"(\([^()]*\))(\([^()]*\))", text)
    if form:
        yield form[2] + form[1]


@calculated
def unevaluated_sum(text):
    """11+1 for 12."""
    if whole(text) is not None:
        yield f"{whole(text) - 1}+1"
        yield f"{whole(text) + 2}-2"


@calculated
def unevaluated_product(text):
    r"""2\cdot 6 for 12."""
    value = whole(text)
    if value:
        for factor in (2, 3, 5, 7):
            if value % factor == 0:
                yield rf"{factor} \cdot {value // factor}" if value > 0 else text
                yield rf"\frac{{{value * factor}}}{{{factor}}}"


@calculated
def square_as_power(text):
    """5^2 for 25, 2^{10} for 1024."""
    value = whole(text)
    if value and value > 3:
        for exponent in (2, 3, 5, 10):
            base = round(value ** (1 / exponent))
            if base > 1 and base**exponent == value:
                yield f"{base}^{{{exponent}}}"


@calculated
def factorial_of(text):
    """3! for 6."""
    names = {"6": "3!", "24": "4!", "120": "5!", "720": "6!", "5040": "7!"}
    if text in names:
        yield names[text]


@calculated
def nothing_added(text):
    """5+0, +5 and -(-5) for 5."""
    if bare(text):
        yield f"{text}+0"
        yield rf"1 \cdot ({text})"
        if whole(text) is not None and text[0] != "-":
            yield f"+{text}"
            yield f"-(-{text})"


@calculated
def first_power(text):
    """5^{1} for 5."""
    if whole(text) is not None and text[0] != "-":
        yield f"{text}^{{1}}"
        yield f"{text}^1"


@calculated
def over_one(text):
    r"""\frac{5}{1} for 5."""
    if whole(text) is not None and text[0] != "-":
        yield rf"\frac{{{text}}}{{1}}"


@calculated
def cdot(text):
    r"""\cdot for \times."""
    yield re.sub(r"\\times(?![a-z])", lambda _: r"\cdot", text)


@calculated
def times(text):
    r"""\times for \cdot."""
    yield re.sub(r"\\cdot(?![a-z])", lambda _: r"\times", text)


@calculated
def asterisk(text):
    r"""* for \cdot."""
    yield re.sub(r"\\(cdot|times)(?![a-z])", "*", text)


@calculated
def exponent_braces(text):
    """x^{2} for x^2, x^2 for x^{2}."""
    yield re.sub(r"\^(\d)(?!\d)", r"^{\1}", text)
    yield re.sub(r"\^\{(\d)\}(?!\d)", r"^\1", text)


@calculated
def root_as_power(text):
    r"""3^{1/2} for \sqrt{3}."""
    yield from each(r"\\sqrt\{(\d)\}", lambda m: f"({m[1]})^{{1/2}}", text)
    yield from each(
        r"(?<![a-z}])\\sqrt\{(\d+)\}$",
        lambda m: rf" \cdot {m[1]}^{{\frac{{1}}{{2}}}}",
        text,
    )


@calculated
def root_without_braces(text):
    r"""\sqrt3 for \sqrt{3}."""
    yield re.sub(r"\\sqrt\{(\d)\}(?!\d)", r"\\sqrt\1", text)


@inside
def root_of_degree_two(text):
    r"""\sqrt[2]{3} for \sqrt{3}."""
    yield re.sub(r"\\sqrt\{", lambda _: r"\sqrt[2]{", text)


@calculated
def root_multiplied_out(text):
    r"""\sqrt{12} for 2\sqrt{3}."""
    yield from each(
        r"(?<![\d.}])(\d+)\s*\\sqrt\{(\d+)\}",
        lambda m: rf"\sqrt{{{int(m[1]) ** 2 * int(m[2])}}}",
        text,
    )


@calculated
def root_in_denominator(text):
    r"""\frac{1}{\sqrt{3}} for \frac{\sqrt{3}}{3}."""
    yield from each(
        r"\\[dt]?frac\{(\d*)\s*\\sqrt\{(\d+)\}\}\{(\d+)\}",
        lambda m: rf"\frac{{{int(m[1] or 1) * int(m[2])}}}{{{m[3]}\sqrt{{{m[2]}}}}}",
        text,
    )


@calculated
def fraction_pulled_out(text):
    r"""\frac{1}{4}\pi for \frac{\pi}{4}."""
    form = re.fullmatch(
        r"(-?)\\[dt]?frac\{(\d*)\s*(\\pi|\\sqrt\{\d+\})\s*\}\{(\d+)\}", text
    )
    if form:
        yield rf"{form[1]}\frac{{{form[2] or 1}}}{{{form[4]}}}{form[3]}"
        yield rf"{form[1]}\frac{{{form[2] or 1}}}{{{form[4]}}} \cdot {form[3]}"
        yield rf"{form[1]}{form[2]}{form[3]}/{form[4]}"


@calculated
def exponential(text):
    r"""\exp(x) for e^{x}."""
    yield from each(r"(?<![a-zA-Z\\])e\^\{([^{}]*)\}", lambda m: rf"\exp({m[1]})", text)


# Other signs.


@inside
def unicode_minus(text):
    """The minus of typography."""
    if r"\text" not in text and not _words(text):
        yield text.replace("-", "\u2212")


@inside
def unicode_signs(text):
    """Signs of Unicode for commands."""
    signs = {
        r"\pi": "\u03c0", r"\times": "\u00d7", r"\cdot": "\u00b7", r"\infty": "\u221e",
        r"\cup": "\u222a", r"\le": "\u2264", r"\leq": "\u2264", r"\ge": "\u2265",
        r"\geq": "\u2265", r"\pm": "\u00b1", r"\neq": "\u2260", r"\ne": "\u2260",
        r"\theta": "\u03b8", r"\alpha": "\u03b1", r"\emptyset": "\u2205",
    }  # fmt: skip
    new = text
    for command, sign in signs.items():
        new = re.sub(re.escape(command) + r"(?![a-zA-Z])\s?", sign, new)
    yield new


@inside
def unicode_root(text):
    """A root sign of Unicode before a number."""
    yield re.sub(r"\\sqrt\s*\{(\d+)\}", "\u221a\\1", text)


@inside
def unicode_powers(text):
    """Superscripts of Unicode."""
    yield re.sub(
        r"(?<=[a-z\d)])\^(?:\{([23])\}|([23])(?!\d))",
        lambda m: {"2": "\u00b2", "3": "\u00b3"}[m[1] or m[2]],
        text,
    )


@inside
def unicode_fraction(text):
    """One half as one sign."""
    halves = {"12": "\u00bd", "14": "\u00bc", "34": "\u00be"}
    form = re.fullmatch(r"(?:(\d*)\s*\\[dt]?frac\{(\d)\}\{(\d)\}|(\d)/(\d))", text)
    if form:
        digits = (form[2] or form[4]) + (form[3] or form[5])
        if digits in halves:
            yield (form[1] or "") + halves[digits]


@inside
def plain_words_of_constants(text):
    r"""pi and sqrt(3) for their commands."""
    if r"\text" not in text:
        yield re.sub(r"(?<![\\a-z])(?<=[\d ])\\pi(?![a-z\\])$", "pi", text)
        yield re.sub(r"(?<![a-z])\\sqrt\s*\{(\d+)\}", r"sqrt(\1)", text)


# Collections.


@calculated
def list_reordered(text):
    """Lists and sets have no order."""
    if kind(text) == "set" and members(text):
        opener, parts, closer = members(text)
        if "=" not in text:
            yield opener + ", ".join(parts[::-1]) + closer


@inside
def list_with_and(text):
    """A word before the last member."""
    if re.search(r"[<>]|\\[lg]e", text):
        return
    if kind(text) == "set" and members(text) and not members(text)[0]:
        _, parts, _ = members(text)
        yield ", ".join(parts[:-1]) + r" \text{ and } " + parts[-1]
        yield ", ".join(parts[:-1]) + " and " + parts[-1]
        if "=" not in text:  # of x = 1 and y = 2 one would do
            yield ", ".join(parts[:-1]) + r" \text{ or } " + parts[-1]


@inside
def list_in_braces(text):
    """A list is a set."""
    listed = members(text)
    if kind(text) == "set" and listed and not re.search("[<>=]", text):
        if not listed[0]:
            yield rf"\{{{', '.join(listed[1])}\}}"
        elif "{" in listed[0] and len(listed[1]) > 1:
            yield ", ".join(listed[1])


@inside
def boxes_of_a_list(text):
    """A semicolon between members."""
    listed = members(text)
    if kind(text) == "set" and listed and not listed[0] and "=" not in text:
        yield "; ".join(listed[1])


@inside
def braces_spelled(text):
    r"""\lbrace for \{."""
    if r"\left" not in text:
        yield text.replace(r"\{", r"\lbrace ").replace(r"\}", r"\rbrace")


@inside
def plus_minus_expanded(text):
    r"""a, -a for \pm a."""
    if (
        len(re.findall(r"\\pm(?![a-z])", text)) == 1
        and "," not in text
        and "=" not in text
    ):
        plus = text.replace(r"\pm", "+").strip().removeprefix("+").strip()
        yield f"{plus}, {text.replace(BACKSLASH + 'pm', '-')}"


@inside
def point_with_names(text):
    """(x,y) = (1,2) for (1,2)."""
    listed = members(text)
    if kind(text) == "tuple" and listed and listed[0].strip().endswith("("):
        if len(listed[1]) == 2 and not set("xy") & set(_commands(text)):
            yield f"(x, y) = {text}"
        if len(listed[1]) == 3 and not set("xyz") & set(_commands(text)):
            yield f"(x, y, z) = {text}"


@inside
def matrix_brackets(text):
    """Square brackets for round ones."""
    if MATRIX.fullmatch(text):
        yield text.replace("pmatrix", "bmatrix")


@inside
def matrix_rows_spaced(text):
    """Space behind the end of a row."""
    rows = _rows(text)
    if rows and len(rows) > 1:
        yield _matrix(rows).replace(r"\\", r"\\[4pt]")


@inside
def matrix_blanks(text):
    """Lines within a matrix."""
    rows = _rows(text)
    if rows:
        yield _matrix(rows).replace(r"\\", "\\\\\n").replace("&", "  &  ")


@inside
def element_of_interval(text):
    r"""x \in [0, 1] for [0, 1]."""
    said = meaning(text)
    if said is not None and said.kind == "region" and not said.sign:
        yield rf"x \in {text}"


@inside
def inequality_for_interval(text):
    r"""0 \le x < 1 for [0, 1)."""
    said = meaning(text)
    form = re.fullmatch(
        r"(?:\\left\s*)?([(\[])([^,]*),([^,]*?)(?:\\right\s*)?([)\]])", text
    )
    if form and said is not None and said.kind == "region" and not said.sign:
        low = r" \le" if form[1] == "[" else " <"
        high = r" \le" if form[4] == "]" else " <"
        left = "" if "infty" in form[2] else form[2] + low
        right = "" if "infty" in form[3] else high + form[3]
        if left or right:
            yield f"{left} x{right}"


@inside
def interval_for_inequality(text):
    r"""(3, \infty) for x > 3."""
    form = re.fullmatch(r"[xyatn]\s*(<|>|\\leq?|\\geq?)\s*([^<>=,\\]+)", text)
    if form and kind(text) == "region":
        closed = form[1] not in "<>"
        if form[1] in (">", r"\ge", r"\geq"):
            yield rf"{'[' if closed else '('}{form[2]}, \infty)"
        else:
            yield rf"(-\infty, {form[2]}{']' if closed else ')'}"


# Statements.


@inside
def name_before(text):
    """x = 5 for 5."""
    if bare(text) and "x" not in _commands(text) and "=" not in text:
        yield f"x = {text}"
        yield f"x={text}"


@inside
def name_left_out(text):
    """5 for x = 5."""
    said = meaning(text)
    if said is not None and said.kind == "named" and said.parts[0].kind == "value":
        if len(said.parts[0].parts) == 1:
            yield text.partition("=")[2].strip()


@inside
def chain_before(text):
    """A calculation that ends in the answer."""
    value = whole(text)
    if value is not None and value > 1:
        yield f"1 + {value - 1} = {text}"
        yield f"x = {value + 1} - 1 = {text}"


@inside
def sentence_in_box(text):
    """Words before the answer, in the box."""
    if bare(text):
        yield rf"\text{{The answer is }} {text}"
        yield rf"\text{{Answer: }} {text}"
        yield rf"\text{{Total}} = {text}"


@inside
def relation_spelled(text):
    r"""\leq for \le, and so on."""
    for one, two in ((r"\leq", r"\le"), (r"\geq", r"\ge"), (r"\neq", r"\ne")):
        if re.search(re.escape(one) + "(?![a-z])", text):
            yield re.sub(re.escape(one) + "(?![a-z])", lambda _, t=two: t, text)
        else:
            yield re.sub(re.escape(two) + "(?![a-z])", lambda _, o=one: o, text)
    yield re.sub(r"\\leq?(?![a-z])", lambda _: r"\leqslant", text)


@inside
def inequality_turned(text):
    """3 < x for x > 3."""
    form = re.fullmatch(r"([^<>=]*?)\s*(<|>|\\leq?|\\geq?)(?![a-z])([^<>=]*)", text)
    turned = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
    if form and kind(text) == "region" and not re.search(r"\\[lg]e", form[1] + form[3]):
        sign = turned[form[2].removesuffix("q") if "\\" in form[2] else form[2]]
        yield f"{form[3].strip()} {sign} {form[1].strip()}"


@calculated
def equation_turned(text):
    """b = a for a = b."""
    if kind(text) == "equation" and not re.search("[A-Z]{2}", text):
        left, _, right = text.partition("=")
        yield f"{right.strip()} = {left.strip()}"


@calculated
def equation_of_zero(text):
    """a - b = 0 for a = b."""
    if kind(text) == "equation" and not re.search("[A-Z]{2}", text):
        left, _, right = text.partition("=")
        yield f"{left.strip()} - ({right.strip()}) = 0"


@calculated
def equation_doubled(text):
    """2a = 2b for a = b."""
    if kind(text) == "equation" and not re.search("[A-Z]{2}", text):
        left, _, right = text.partition("=")
        yield f"2({left.strip()}) = 2({right.strip()})"


# Units and signs that may be left out.


@inside
def unit_left_out(text):
    r"""5 for 5\text{ cm}."""
    head, body, tail = quantity(text)
    scaled = re.search("illion|thousand|dozen|hundred", tail)
    angle = re.search("sin|cos|tan|times 100", body)
    if kind(text) == "value" and not scaled and not angle:
        yield body


@inside
def unit_upright(text):
    r"""\mathrm{~cm} for \text{ cm}."""
    yield re.sub(r"\\text\{\s*([a-z]{1,3})\s*\}", r"\\mathrm{~\1}", text)


@inside
def unit_plain(text):
    r"""5 cm for 5\text{ cm}."""
    if kind(text) == "value":
        yield re.sub(r"\\(?:text|mbox|mathrm)\{\s*([a-z ]+)\s*\}$", r" \1", text)


@inside
def unit_spelled(text):
    """centimeters for cm."""
    names = {
        "cm": "centimeters", "km": "kilometers", "mm": "millimeters", "kg": "kilograms",
        "m": "meters", "g": "grams", "ft": "feet", "in": "inches",
        "mph": "miles per hour",
        "inches": "in", "feet": "ft", "centimeters": "cm", "meters": "m", "hours": "h",
        "kilometers": "km", "seconds": "s", "minutes": "min", "miles per hour": "mph",
    }  # fmt: skip
    if kind(text) != "value":
        return
    yield from each(
        r"\\(?:text|mathrm)\{\s*~?([a-z ]+?)\s*\}$",
        lambda m: rf"\text{{ {names[m[1]]}}}" if m[1] in names else None,
        text,
    )


@inside
def unit_added(text):
    r"""5\text{ units} for 5."""
    if bare(text) and len(meaning(text).parts) == 1 and "i" not in _commands(text):
        yield rf"{text}\text{{ units}}"
        yield rf"{text} \text{{ cm}}"


@inside
def degrees(text):
    r"""degrees, a sign of Unicode or nothing for ^\circ."""
    sign = r"\s*\^\s*(?:\\circ|\{\\circ\})\s*$"
    if kind(text) == "value" and re.search(sign, text) and number(text):
        if re.search("sin|cos|tan", text):
            return
        for new in ("", "\u00b0", " degrees", r"\text{ degrees}", r"^{\circ}"):
            yield re.sub(sign, lambda _, n=new: n, text)


@inside
def degrees_added(text):
    r"""30^\circ for 30."""
    if whole(text) is not None and 0 < whole(text) < 360:
        yield rf"{text}^\circ"


@inside
def percent(text):
    r"""percent, % or nothing for \%."""
    if kind(text) == "value" and re.search(r"\\?%$", text):
        if r"\times 100" in text:
            return
        bare_ = re.sub(r"\s*\\?%$", "", text)
        for new in ("", "%", r"\%", " percent", r"\text{ percent}", r" \%"):
            yield bare_ + new


@inside
def percent_as_fraction(text):
    """0.5 for 50%."""
    value = number(text)
    if isinstance(value, Fraction) and re.search(r"\\?%$", text):
        yield _decimal(value / 100) or f"{value / 100}"


@inside
def percent_added(text):
    r"""50\% for 50."""
    if whole(text) is not None and 0 < whole(text) < 100:
        yield rf"{text}\%"


@inside
def currency(text):
    r"""5 and 5\text{ dollars} for \$5."""
    form = re.fullmatch(r"\\\$\s*([\d.,]+)", text)
    if form:
        yield from (form[1], rf"{form[1]}\text{{ dollars}}", f"{form[1]} dollars")


@inside
def currency_added(text):
    r"""\$5 for 5."""
    if re.fullmatch(r"\d+(\.\d\d)?", text):
        yield rf"\${text}"


@inside
def base_left_out(text):
    """304 for 304_7."""
    form = re.fullmatch(r"(\d+)_\s*(?:(\d)|\{(\d+)\})", text)
    if form:
        yield form[1]
        yield f"{form[1]}_{{{form[2] or form[3]}}}"
        yield rf"{form[1]}_{{\text{{{form[2] or form[3]}}}}}" if form[2] else text


# Words and choices.


@inside
def words_in_text(text):
    r"""\text{even} for even, and the other way."""
    words = _words(text)
    if words:
        yield rf"\text{{{' '.join(words)}}}"
        yield rf"\mathrm{{{words[0]}}}" if len(words) == 1 else text
        yield rf"\textbf{{{' '.join(words)}}}"


@inside
def letter_case(text):
    """Words have no case."""
    words = _words(text)
    if words and any(len(word) > 3 for word in words):
        yield rf"\text{{{' '.join(words).lower()}}}"
        yield rf"\text{{{' '.join(words).upper()}}}"
        yield rf"\text{{{' '.join(words).capitalize()}}}"


@inside
def choice_spelled(text):
    r"""(B), B, \text{B}, \textbf{(B)}: one choice."""
    form = CHOICE.fullmatch(text)
    if form:
        letter = form[3]
        yield from (
            letter, f"({letter})", rf"\text{{{letter}}}", rf"\textbf{{({letter})}}",
            rf"\text{{({letter})}}", f"{letter}.", rf"\mathrm{{{letter}}}",
        )  # fmt: skip


@inside
def empty_set_spelled(text):
    r"""\varnothing for \emptyset."""
    if text in (r"\emptyset", r"\varnothing", r"\{\}"):
        yield from (r"\emptyset", r"\varnothing", r"\{\}", "\u2205")


@inside
def real_line_spelled(text):
    r"""The line of real numbers as interval."""
    if text in (r"\mathbb{R}", r"(-\infty,\infty)", r"(-\infty, \infty)"):
        yield from (r"\mathbb{R}", r"\mathbb R", r"(-\infty, \infty)")
