r"""One tokenizer for LaTeX, Unicode and plain text.

    "2\dfrac{1}{3}\text{ cm}"  ->  num 2, cmd frac, {, num 1, }, {, num 3, }, word cm

Fonts and the sizes of delimiters are dropped, Unicode becomes LaTeX, thousands
separators are read into the number they belong to. What carries meaning (units,
percent signs, currency, connectives) stays as tokens: nothing is deleted that
could tell two answers apart.
"""

import dataclasses
import functools
import html
import re

from maspo_jax.rewards.mathematics.language import lexicon, units

MOST_TOKENS = 2_000
LONGEST = 2_000  # characters


class Unreadable(ValueError):
    """The text is not something this package reads as mathematics."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """One symbol: its kind (num, name, word, cmd, op, odd) and canonical spelling."""

    kind: str
    text: str
    spaced: bool = False  # whether white space stands before it


# Spellings that no single token shows are rewritten before the text is cut:
#     100^\circ\mathrm{C}, 3{:}30 p.m.  ->  100\text{ celsius}, 3:30 pm
# Every pattern is linear.
_DROPPED = ("$$", "\\(", "\\)", "\\[", "\\]")  # delimiters of mathematics
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31}\d{0,2});")
_HTML = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<sup>([^<>]*)</sup>", r"^{\1}"),
        (r"<sub>([^<>]*)</sub>", r"_{\1}"),
        (r"<(b|i|em|strong|u|mark|span|p)>([^<>]*)</\1>", r"\2"),
        (r"(?:<br ?/?>\s*)+$", ""),
    )
]
_CHINESE_PARTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"百分之\s*(\d+(?:\.\d+)?)", r"\1\\%"),
        (r"(\d(?:\.\d)?)(?:折|\\text\{折\})", r"\\frac{\1}{10}"),
        (r"(小时[^\d分]{0,8}\d+[^\d分]{0,8})分(?!钟)", r"\1分钟"),
        (r"(元[^\d角]{0,8}\d+[^\d角]{0,8})角", r"\1毛"),
    )
]
_CHINESE = re.compile("|".join(sorted(lexicon.CHINESE, key=len, reverse=True)))
_SCRIPTS = [
    (sign, table, re.compile(f"[{''.join(table)}]+"))
    for sign, table in (("^", lexicon.SUPERSCRIPTS), ("_", lexicon.SUBSCRIPTS))
]
_ROW_SPACING = re.compile(
    r"\\\\(?:\*|\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in|mu)\s*\])"
)
_DISPLAY = re.compile(r"\\(?:begin|end)\s*\{(?:equation|displaymath|math|center)\*?\}")
_TEMPERATURE = (
    r"(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree)(?![A-Za-z])\s*(?:\\[,;: ]\s*)?"
    r"(?:\\(?:text|mathrm)\s*\{\s*SCALE\s*\}|SCALE(?![A-Za-z]))"
)
_MILLIONS = r"(?<=\d)\s*(?:\\(?:text|mathrm)\{\s*(?:SIZE)\s*\}|(?:SIZE)(?![A-Za-z]))"
# A text without the first string does not match the pattern beside it.
_RULES = [
    (hint, re.compile(pattern), replacement)
    for hint, pattern, replacement in (
        ("\\text{,}", r"\\text\{,\}", "{,}"),
        ("{", r"(?<![_^a-zA-Z}])\{([-+=:.])\}", r"\1"),  # 3{:}30, {-}7
        ("C", _TEMPERATURE.replace("SCALE", "C"), r"\\text{ celsius}"),
        ("F", _TEMPERATURE.replace("SCALE", "F"), r"\\text{ fahrenheit}"),
        (".", r"\b(?:np|numpy|math|sympy)\.(?=[a-z])", ""),  # Minerva: np.arcsin
        ("m", r"\b([aApP])\.\s?m\b\.?|(?<=\d)\s*([aApP])m\b", r" \1\2m"),  # p.m., 3pm
        ("i", r"\bi\.\s?e\.,?", "="),
        ("dollars", _MILLIONS.replace("SIZE", "K|k"), r"\\text{ thousand}"),
        ("dollars", _MILLIONS.replace("SIZE", "M|mn"), r"\\text{ million}"),
        ("dollars", _MILLIONS.replace("SIZE", "B|bn"), r"\\text{ billion}"),
        ("prime", r"(?<=\d)\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![A-Za-z]))", "'"),
        ("prime", r"(?<=\d)\^\s*\{\s*\\prime\s*\\prime\s*\}", "''"),
        ("_", r"^\s*(_{1,2})([^_]+)\1\s*$", r"\2"),
        ("M", r"\b([aApP])\.\s?M\b\.?|(?<=\d)\s*([aApP])M\b", r" \1\2m"),
        ("x", r"(?<=\d)\s*x\s*(?=10\s*\^)", r"*"),  # 1.23 x 10^4
        ("([", r"\b(?:Matrix|matrix|array)\s*(?=\(\[)", ""),  # of Python
        ("**", r"(?<![\w)}\]*])\*\*([^*]+)\*\*(?![\w({\\*])", r"\1"),  # Markdown
        ("*", r"^\s*\*([^*]+)\*\s*$", r"\1"),
        ("***", r"^\s*\*{3}([^*]+)\*{3}\s*$", r"\1"),
        ("`", r"`+([^`']*)(?:`+|'')", r"\1"),
        ('"', r'"([^"]*)"', r"\1"),
        ("'", r"^\s*'([^']*)'\s*$", r"\1"),
    )
]
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z])")

# No alternative can match in two ways, so a scan is linear.
_LEXEME = re.compile(
    r"""
    (?P<space> [\s~]+ | \\! )
  | (?P<base> (?: \d+[A-F] | [A-F]+\d ) [0-9A-F]* 
                (?=\}?_\{? (?:\\(?:text|mathrm)\{)? (?:1[1-9]|[23]\d)(?!\d)) )
  | (?P<repeat> (?:\d+\.\d*|\.\d*)
                (?: \\(?:overline|bar|dot)\s* (?: \{\d+\} | \d ) | \(\d+\)(?![\d^]) ) )
  | (?P<grouped> \d{1,3} (?: (?:,?\\![ ]?|\{,\}|\\[,; ]|[ ~]|,\\![ ]?) \d{3} )+ (?!\d)
                 (?:\.\d+)? )
  | (?P<commas> \d{1,3} (?:(?:,|\{,\}|,\\!)\d{3})+ (?!\d) (?!,\d) (?:\.\d+)? )
  | (?P<num> (?:\d+(?:\.\d+|\.(?=[/*]))?|\.\d+) (?:[eE][+-]?\d+(?![\w^{]))? )
  | \\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*(?P<null>\.)?
  | (?P<degree> \^\s* (?: \{\s*\\(?:circ|degree)\s*\}
                       | \\(?:circ|degree)(?![A-Za-z]) ) )
  | \\(?P<begin>begin|end)\s*\{(?P<env>[a-z]+)\*?\} (?:\{[clr|@{} ]*\})?
  | \\(?:(?:mathbb|Bbb)\s*\{?\s*(?P<field>[A-Z])\s*\}?
       | mathbf\s*\{\s*(?P<bold>[RZ])\s*\})
  | (?P<long> \*\* | <= | >= | != | == | \.\.\.+ )
  | \\(?P<cmd>[A-Za-z]+|.)
  | (?P<letters>[A-Za-z]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SINGLE = frozenset("+-*/^_=<>()[]{},;:|!%'&")
_ALIGNED = lexicon.SYSTEMS - {"cases"}
_ROMAN = frozenset("ii iii iv vi vii viii ix II III IV VI VII VIII IX".split())
_UNIT_LETTERS = frozenset("mgshLlNJWVAKCF")
_FIELDS = frozenset("CFNQRZ")
_FUNCTION_HEAD = re.compile("|".join(sorted(lexicon.FUNCTIONS, key=len, reverse=True)))


@functools.lru_cache(maxsize=1024)
def tokenize(text):
    """Returns the tuple of `Token`s of a text, or raises `Unreadable`."""
    if len(text) > LONGEST:
        raise Unreadable("too long")
    text = _rewritten(text)
    scanner = _Scanner(text)
    for match in _LEXEME.finditer(text):
        if match.start() >= scanner.resume:
            getattr(scanner, match.lastgroup or "null")(match)
    while scanner.tokens and scanner.tokens[-1].text == "\\\\":
        scanner.tokens.pop()  # a line break that ends nothing
    if len(scanner.tokens) > MOST_TOKENS:
        raise Unreadable("too many tokens")
    return tuple(scanner.tokens)


def _rewritten(text):
    """Returns a text in the spellings that the tokenizer knows."""
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if "</" in text or "<br" in text:
        for pattern, replacement in _HTML:
            text = pattern.sub(replacement, text)
    if not text.isascii():
        for pattern, replacement in _CHINESE_PARTS:
            text = pattern.sub(replacement, text)
        text = _CHINESE.sub(_translated, text)
        for sign, table, run in _SCRIPTS:
            inside = lambda match, table=table: "".join(table[c] for c in match[0])
            text = run.sub(lambda match, s=sign, i=inside: f"{s}{{{i(match)}}}", text)
        text = text.translate(lexicon.UNICODE)
    text = text.replace("\\$", " dollars ")
    if "\\begin" in text:
        text = _ROW_SPACING.sub(lambda match: "\\\\", text)
        text = _DISPLAY.sub("", text)
    for delimiter in _DROPPED:
        text = text.replace(delimiter, "")
    if "\\\\" in text and "\\begin" not in text:  # \\frac, from JSON within JSON
        text = _ESCAPED_TWICE.sub(r"\\", text)
    for hint, pattern, replacement in _RULES:
        if hint in text:
            text = pattern.sub(replacement, text)
    return text


def _translated(match):
    words = lexicon.CHINESE[match[0]]
    return rf"\text{{{words}}}" if words else ""


def spelling(tokens):
    """Returns the canonical spelling of a token sequence, for comparing as text."""
    return " ".join(token.text for token in tokens)


class _Scanner:
    """Turns each lexeme into tokens; one method per named group of the pattern."""

    def __init__(self, text):
        self.text = text
        self.tokens = []
        self.spaced = False
        self.resume = 0  # lexemes before this position were consumed by another
        self.brackets = 0  # commas inside brackets separate, they never group digits
        self.braces = []  # per open brace: whether it came from a font command
        self.font = False  # whether the last command was a font
        self.aligned = False  # whether & only aligns here
        self.lone_dollar = text.count("$") % 2 == 1
        self.cjk = -1  # where the last Chinese character ended

    def put(self, kind, text):
        self.tokens.append(Token(kind, text, self.spaced))
        self.spaced = self.font = False

    def space(self, match):
        self.spaced = self.spaced or match.group() != "\\!"

    def null(self, match):
        pass

    def base(self, match):
        self.put("digits", match.group())

    def repeat(self, match):
        whole, _, period = match.group().replace("(", "\\").partition("\\")
        digits = "".join(character for character in period if character.isdigit())
        self.put("num", f"{whole}({digits})")

    def grouped(self, match):
        self.put("num", re.sub(r"[^\d.]", "", match.group()))

    def commas(self, match):
        before = self.tokens[-2:]
        in_run = len(before) == 2 and before[1].text == "," and before[0].kind == "num"
        if self.brackets == 0 and not (in_run and not self.spaced):
            return self.grouped(match)
        head = match.group().split(",")[0].split("{")[0]
        self.put("num", head)
        # Only the first group is a number here: scan the rest again.
        return self.rescan(match.start() + len(head), match.end())

    def rescan(self, start, end):
        for part in re.finditer(r"\d+\.?\d*|,", self.text[start:end]):
            self.put("op" if part.group() == "," else "num", part.group())

    def num(self, match):
        self.put("num", match.group())

    def degree(self, match):
        self.put("op", "deg")

    def env(self, match):
        self.put(match["begin"], match["env"])
        self.aligned = match["begin"] == "begin" and match["env"] in _ALIGNED

    def field(self, match):
        letter = match[match.lastgroup]
        if letter in _FIELDS:
            self.put("cmd", "field " + letter)
        else:
            self.put("name", letter)  # the P of a probability

    bold = field

    def long(self, match):
        sign = match.group()
        before = self.text[match.start() - 1 : match.start()]
        if sign == "!=" and (before.isdigit() or before in ")!"):
            self.put("op", "!")  # 5!=120
            self.put("op", "=")
        else:
            self.put("op", {"**": "^", "==": "="}.get(sign, sign[:3]))

    def cmd(self, match):
        name = match["cmd"]
        if name in lexicon.SPACES:
            self.spaced = True
        elif name in lexicon.FONTS:
            self.font = True
        elif name in lexicon.HIDDEN:
            self.skip_group(match.end())
        elif name == "not":
            self.spaced = True
            self.negated(match.end())
        elif name in lexicon.ANGLES:
            self.angle()
        elif name not in lexicon.SILENT:
            self.known(name)

    def angle(self):
        """Drops the sign, and the m of "the measure of the angle" before it."""
        if self.tokens and self.tokens[-1] == Token(
            "name", "m", self.tokens[-1].spaced
        ):
            self.tokens.pop()

    def known(self, name):
        name = lexicon.ALIASES.get(name, name)
        if name in lexicon.LETTERS:
            self.put("name", lexicon.LETTERS[name])
        elif name in lexicon.CURRENCIES:
            self.put("word", lexicon.CURRENCIES[name])
        elif name in lexicon.OPERATORS:
            name = lexicon.OPERATORS[name]
            if name in ("\\{", "\\}"):
                self.brackets += 1 if name == "\\{" else -1
            self.put("op", name)
        else:
            self.put("cmd", name)

    def negated(self, position):
        for relation in ("=", "\\in"):
            if self.text.startswith(relation, position):
                self.put("op", "!=" if relation == "=" else "notin")
                self.resume = position + len(relation)
                return
        self.put("cmd", "not")

    def skip_group(self, position):
        open_braces = 0
        for end in range(position, len(self.text)):
            if self.text[end] == "{":
                open_braces += 1
            elif self.text[end] == "}":
                open_braces -= 1
            if open_braces == 0:
                self.resume = end + 1
                return

    def letters(self, match):
        run = match["letters"]
        text_mode = self.font or any(self.braces)
        if run.lower() in lexicon.CONNECTIVES:
            self.put("op", lexicon.CONNECTIVES[run.lower()])
        elif run in lexicon.INFINITY:
            self.put("cmd", "infty")
        elif len(run) == 1:
            self.letter(run, text_mode)
        elif not self.word(run, text_mode, match.end()):
            for letter in run:
                self.put("name", letter)

    def letter(self, letter, text_mode):
        unit = letter in _UNIT_LETTERS and (
            self.follows_unit() or (text_mode and self.follows_operand())
        )
        self.put("word" if unit else "name", letter)

    def follows_unit(self):
        """Whether a unit goes on here: the h of km/h, the s of 1 min 30 s."""
        last = self.tokens[-2:]
        if len(last) < 2 or not (last[1].text in ("/", "*") or last[1].kind == "num"):
            return False
        return last[0].kind == "word" and units.takes_exponent(last[0].text)

    def follows_operand(self):
        if not self.tokens:
            return False
        last = self.tokens[-1]
        if last.text == "{" and len(self.tokens) > 2:  # 5 \frac{m}{s}
            first, second = self.tokens[-3:-1]
            return (first.kind, second.text) in (("num", "frac"), ("word", "}"))
        return last.kind in ("num", "word") or last.text in ("}", ")", "pi", "/")

    def is_alone(self, end):
        """Whether no argument follows: 40 min, not 2 min(a, b)."""
        return self.text[end:].lstrip()[:1] not in tuple("([{_\\")

    def word(self, run, text_mode, end):
        """Puts a run of letters that is one word; returns whether it was."""
        if run.lower() in lexicon.REMARKS:
            self.put("word", run)  # since is no sine
            return True
        name = lexicon.ALIASES.get(run, run)
        follows = self.follows_operand()
        clearly = text_mode or run == "in" or (run == "min" and self.is_alone(end))
        if units.is_unit(run) and follows and clearly:
            self.put("word", run)  # 40 min, 30 sec, 5 in: no functions, no relation
            return True
        if run == "in" and not text_mode:
            self.put("op", "in")
            return True
        if name in lexicon.FUNCTIONS or name in lexicon.CONSTANTS:
            self.put("cmd", name)
            return True
        if not text_mode and name in lexicon.GREEK:
            self.put("cmd", name)
            return True
        head = None if text_mode else _FUNCTION_HEAD.match(run)
        if head and len(run) - head.end() <= 2:
            self.put("cmd", head.group())
            for letter in run[head.end() :]:
                self.put("name", letter)
            return True
        known = {run, run[0].lower() + run[1:]} & lexicon.WORDS or run in _ROMAN
        if known or text_mode or len(run) >= 4:
            self.put("word", run)
            return True
        if units.is_unit(run) and (follows or len(run) > 2):  # mg / k is a product
            self.put("word", run)
            return True
        return False

    def other(self, match):
        character = match.group()
        if character == "$":
            if self.lone_dollar:
                self.put("word", "dollars")
            return
        if character == "{":
            self.braces.append(self.font)
            if self.font:
                self.font, self.spaced = False, True
                return
        elif character == "}":
            if self.braces and self.braces.pop():
                self.spaced = True
                return
        elif character in lexicon.CIRCLED:
            digit = self.tokens and self.tokens[-1].kind == "num"
            self.put("odd" if digit else "name", character)  # 4⑥ is no product
            return
        elif character > "\u2e7f":  # Chinese: a counter, or another word
            joined = self.cjk == match.start()
            before = self.tokens.pop().text if joined else ""
            self.put("word", before + character)
            self.cjk = match.end()
            return
        elif character in "([":
            self.brackets += 1
        elif character in ")]":
            self.brackets -= 1
        elif character == "&" and self.aligned:
            return
        elif character == ".":
            if self.drops_stop(match.end()):
                return
        self.put("op" if character in _SINGLE else "odd", character)

    def drops_stop(self, end):
        """Whether a full stop ends a sentence, and no label of a choice: B. 12."""
        after = self.text[end:].lstrip("} \t")
        if len(self.tokens) == 1 and self.tokens[0].text in lexicon.LABELS and after:
            return False
        after_word = bool(self.tokens) and self.tokens[-1].kind == "word"
        return after_word or not self.text[end : end + 1].strip(" \n\t}$\\")
