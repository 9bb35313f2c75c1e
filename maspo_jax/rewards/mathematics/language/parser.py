r"""Recursive descent from tokens to an expression tree.

    items     relation (, ; and or) relation ...
    relation  union (= < > <= >= != in) union ...
    union     sum (cup cap setminus) sum ...
    sum       product (+ - +-) product ...
    product   factor (* / or nothing) factor ...
    factor    atom with postfix ! % degree ' _ ^

Time is linear in the tokens: no rule is tried twice at one place. What does not
fit raises `Unreadable`; nothing is guessed and nothing is executed.
"""

from fractions import Fraction

from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import (
    latex_commands,
    lexicon,
    literals,
    units,
)
from maspo_jax.rewards.mathematics.language.tokens import Token, Unreadable, tokenize

RELATIONS = frozenset(["=", "<", ">", "<=", ">=", "!=", "in", "notin", "~=", "=="])
_SEPARATORS = frozenset([",", ";", "and", "or"])
_SIGNS = frozenset(["+", "-", "+-", "-+"])
_MOST_CHAINED = 32  # postfix operators on one atom, set operations in a row
_CONSTANTS = {"e": ex.Const("e"), "i": ex.Const("i")}
_REALS = ex.Const("field R")
_HALVES = {
    "+": "field R+", ">0": "field R+", "-": "field R-", "<0": "field R-",
    ">=0": "field R>=0", "<=0": "field R<=0",
}  # fmt: skip
_FIELDS = frozenset(ex.Const(f"field {letter}") for letter in "CFNQRZ")
_FUNCTIONS = frozenset("fghFGH")  # letters that name functions
_STATED = frozenset(["=", "<", ">", "<=", ">=", "!=", "in"])
_OPENERS = frozenset(["(", "[", "{", "\\{"])
_CLOSERS = frozenset([")", "]", "}", "\\}"])
_END = Token("end", "")
_IGNORED = frozenset(["therefore", "implies", "Rightarrow"])
# Words before a value that it is not what is asked for: the least, half of it.
_TAKE_BACK = lexicon.HEDGES | lexicon.BOUNDS | lexicon.PARTS | lexicon.ARITHMETIC
_LEADING = frozenset(["~=", "="])  # what an answer may begin with: = 5
_SAID_AGAIN = frozenset(["~=", "=", "or"])  # what a remark may begin with, beside words


def parse(text):
    """Returns the tree of a text, or raises `Unreadable`."""
    return parse_tokens(tokenize(text))


def parse_tokens(tokens):
    """Returns the tree of a token sequence, or raises `Unreadable`."""
    parts = _parts(tokens)
    if parts:
        return _labeled(parts)
    parser = _Parser(tokens)
    try:
        node = parser.items()
    except (ValueError, RecursionError) as refusal:
        raise Unreadable(str(refusal)) from None
    if parser.here.kind != "end":
        raise Unreadable(f"did not expect {parser.here.text!r}")
    return node


def _parts(tokens):
    """Returns (label, tokens) of an answer in parts, (a) 5 (b) 6; else an empty list.

    The labels are a, b, c, ... or A, B, C, ... or 1, 2, 3, ... in their order. Without
    anything behind them, (1)(3), they are what is named: statements by their number.
    """
    places, depth = [], 0
    for place, token in enumerate(tokens):
        closes = place + 2 < len(tokens) and tokens[place + 2].text == ")"
        if token.text == "(" and not depth and closes and _is_label(tokens[place + 1]):
            places.append(place)
        depth += {"(": 1, ")": -1, "{": 1, "}": -1}.get(token.text, 0)
    if len(places) < 2 or places[0]:
        return []
    labels = [tokens[place + 1].text for place in places]
    ends = [*places[1:], len(tokens)]
    inside = [tokens[a + 3 : b] for a, b in zip(places, ends, strict=True)]
    inside = [part[:-1] if _ends_part(part) else part for part in inside]
    if not any(inside):
        numbers = all(label.isdigit() for label in labels)
        rising = numbers and labels == sorted(set(labels), key=int)
        named = rising and (labels[0] == "1" or len(labels) > 2)  # (3)(4) is 12
        return [(label, ()) for label in labels] if named else []
    expected = [chr(ord(labels[0]) + step) for step in range(len(labels))]
    if labels != expected or labels[0] not in "aA1" or not all(inside):
        return []
    return [*zip(labels, inside, strict=True)]


def _is_label(token):
    return token.kind in ("name", "num") and len(token.text) == 1


def _ends_part(part):
    return len(part) > 1 and part[-1].text in (",", ";", ".", "and")


def _labeled(parts):
    if not parts[0][1]:
        nodes = [literals.literal(label) for label, _ in parts]
    else:
        nodes = [
            ex.Relation(("=",), (ex.Text((label,)), parse_tokens(inside)))
            for label, inside in parts
        ]
    return ex.Items(tuple(nodes), (",",) * (len(nodes) - 1))


class _Parser:
    """One pass over one token sequence."""

    def __init__(self, tokens):
        self.tokens = tokens
        self.index = 0
        self.here = tokens[0] if tokens else _END
        self.depth = 0
        self.bars = 0  # open absolute values
        self.integrals = 0  # open integrals, where d x ends the integrand
        self.in_set = False  # between braces, where | and : mean "such that"
        self.stated = _statements(tokens)

    def take(self):
        token = self.here
        self.index += 1
        more = self.index < len(self.tokens)
        self.here = self.tokens[self.index] if more else _END
        return token

    def at_end(self):
        return self.here is _END

    def peek(self, ahead=1):
        index = self.index + ahead
        return self.tokens[index] if index < len(self.tokens) else _END

    def at(self, text, kind="op"):
        return self.here.text == text and self.here.kind == kind

    def accept(self, text):
        if self.at(text):
            self.take()
            return True
        return False

    def expect(self, text):
        if not self.accept(text):
            raise Unreadable(f"expected {text!r}, found {self.here.text!r}")

    # Collections and statements.

    def items(self):
        found, links = [self.relation()], []
        while True:
            if self.opens_qualifier():
                found += self.qualifier()
            elif self.at("(") and self.index in self.stated:  # y = x^2 (x >= 0)
                self.take()
                found.append(self.items())
                self.expect(")")
            elif self.here.kind == "op" and self.here.text in _SEPARATORS:
                link = self.take().text
                while self.here.text in ("and", "or") and self.here.kind == "op":
                    link = self.take().text
                if link in (",", ";") and self.ends_row():
                    break
                if self.opens_qualifier():
                    continue
                links.append(link)
                found.append(self.relation())
            else:
                break
            links += [","] * (len(found) - 1 - len(links))
        return ex.Items(tuple(found), tuple(links)) if links else found[0]

    def opens_qualifier(self):
        """Whether something is said from here on of the names before: for all x."""
        if self.here.kind == "word":
            return self.here.text.lower() in lexicon.QUALIFIERS
        return self.here.kind == "cmd" and self.here.text == "forall"

    def qualifier(self):
        """Takes what is said of names. Returns the statements it makes of them.

        Without a name it labels what is counted, as in 5 dollars for a ticket.
        """
        must_state = self.take().text.lower() in lexicon.CONDITIONS
        words, names, said = [], [], []
        while True:
            if self.here.kind == "word":
                words.append(self.take().text.lower())
            elif self.here.kind == "name" or self.here.text in lexicon.GREEK:
                node = self.relation()
                if isinstance(node, ex.Quantity):
                    words += [word.lower() for word in node.words]
                    node = node.value
                (said if isinstance(node, ex.Relation) else names).append(node)
            elif self.here.text in (",", "and") and self.peek().kind in (
                "word",
                "name",
            ):
                self.take()
            else:
                break
        if lexicon.HEDGES & set(words) or (must_state and not said):
            raise Unreadable("a hedge where a qualifier would stand")
        if names and not lexicon.UNRESTRICTING.issuperset(words):
            raise Unreadable("a qualifier that this package does not know")
        kinds = [lexicon.KINDS[word] for word in words if word in lexicon.KINDS]
        for name in names if kinds else ():
            said.append(ex.Relation(("in",), (name, ex.Const(f"field {kinds[0]}"))))
        return said

    def ends_row(self):
        """Whether a comma here ends a row or the text, and separates nothing."""
        return self.here.kind == "end" or self.here.text in ("&", "\\\\")

    def relation(self):
        while self.here.text in _LEADING or self.here.text in _IGNORED:
            self.take()
        if not self.index and self.here.text.lower() in lexicon.ADVERBS:
            self.take()
            if self.here.text in (",", ":", "="):
                self.take()
        sides, ops = [self.union()], []
        while self.here.kind == "op" and self.here.text in RELATIONS:
            ops.append(self.take().text)
            sides.append(self.union())
        while self.opens_remark():
            said = self.remark(sides)
            if said is not None:
                ops.append(said[0])
                sides.append(said[1])
        return ex.Relation(tuple(ops), tuple(sides)) if ops else sides[0]

    def opens_remark(self):
        """Whether a remark in brackets stands here: (about 18.9 cards), (ways)."""
        inside = self.peek()
        return self.at("(") and (inside.kind == "word" or inside.text in _SAID_AGAIN)

    def remark(self, sides):
        """Takes a remark; a unit goes to the last side.

        Returns:
            ("~=", value) of a rounding, ("same", value) of what is said again, or None.
        """
        self.take()
        opener = self.here.text.lower()
        if opener in lexicon.REASONS:
            self.skip_to_close()
            return None
        rounded = opener in lexicon.ROUNDINGS or opener == "~="
        again = opener in lexicon.RESTATEMENTS
        if rounded or again:
            while self.here.text.lower() in lexicon.RESTATEMENTS or rounded:
                self.take()
                self.accept(",")
                if rounded:
                    break
            value = self.quantity()
            self.expect(")")
            value = value.value if isinstance(value, ex.Quantity) else value
            return "~=" if rounded else "same", value
        words = tuple(literals.take_words(self))
        self.expect(")")
        if not isinstance(sides[-1], ex.Quantity):
            sides[-1] = ex.Quantity(sides[-1], words)
        return None

    def skip_to_close(self):
        depth = 1
        while depth:
            if self.at_end():
                raise Unreadable("a bracket that never closes")
            depth += {"(": 1, ")": -1}.get(self.take().text, 0)

    def union(self):
        left, count = self.ratio(), 0
        while self.here.text in ("cup", "cap", "setminus") and self.here.kind == "op":
            op, count = self.take().text, self.next_in_chain(count)
            left = ex.SetOp(op, left, self.ratio())
        return left

    def ratio(self):
        parts = [self.quantity()]
        while not self.in_set and self.accept(":"):
            parts.append(self.quantity())
        return ex.ratio(parts) if len(parts) > 1 else parts[0]

    def quantity(self):
        if self.at("-") and self.peek().kind == "word":
            self.take()
            minus = self.quantity()
            if isinstance(minus, ex.Quantity):
                return ex.Quantity(ex.negated(minus.value), minus.words)  # -$5
            raise Unreadable("minus a word")
        if self.here.kind == "word":
            return self.sentence() or self.phrase()
        value = self.sum()
        if self.accept("over"):
            value = ex.quotient(value, self.sum())
        unit = literals.take_unit(self)
        if not unit:
            return value
        parts = [ex.Quantity(value, tuple(unit))]
        while self.here.kind == "num" and units.unit_of(parts[-1].words):
            parts.append(ex.Quantity(self.sum(), tuple(literals.take_unit(self))))
        return literals.together(parts)

    def sentence(self):
        """Takes a whole answer that is said: the area of triangle ABC is 5; or None."""
        if self.index:
            return None
        end, named = 0, 0
        while self.peek(end).kind in ("word", "name") or (
            end and self.peek(end).text == "," and self.peek(end + 1).kind == "word"
        ):
            end += 1
            if self.peek(end - 1).text.lower() in lexicon.COPULAS:
                named = end
        sign = self.peek(end)
        if end and sign.kind == "op" and sign.text in ("=", ":"):
            named = end + 1
        value = self.peek(named)
        if not named or value.kind == "end":
            return None
        if sign.text == ":" and value.kind == "word":
            return None  # dogs : cats
        words = tuple(token.text for token in self.tokens[: named - 1])
        if _TAKE_BACK & {word.lower() for word in words}:
            return None
        if sign.text == "=" and named > end:
            self.index, self.here = end, sign
            return ex.Text(words)  # which the rest of a chain gives a value
        self.index, self.here = named, value
        return ex.Relation(("=",), (ex.Text(words), self.quantity()))

    def phrase(self):
        """Words: a unit before its number ($18), a statement, or plain text."""
        words = literals.take_words(self)
        signed = self.starts_operand() or self.here.text in _SIGNS
        if signed and units.unit_of(words) and len(words) == 1:
            return ex.Quantity(self.sum(), (*words, *literals.take_words(self)))
        told = {word.lower() for word in words}
        named = len(words) > 1 and words[-1].lower() in lexicon.COPULAS
        if signed and named and not told & _TAKE_BACK:
            name = ex.Text(tuple(words[:-1]))
            return ex.Relation(("=",), (name, self.quantity()))  # the sum is 5
        while self.here.kind in ("num", "word"):
            words.append(self.take().text)  # October 30
        return ex.Text(tuple(words))

    # Values.

    def sum(self):
        self.deeper()
        terms = [self.signed()]
        while self.here.kind == "op" and self.here.text in _SIGNS:
            terms.append(self.signed())
        self.depth -= 1
        if len(terms) == 1:
            return terms[0]
        return ex.Add(tuple(map(_ungrouped, terms)))

    def skip_empty_groups(self):
        while self.at("{") and self.peek().text == "}":
            self.index += 2
            self.here = self.peek(0)

    def signed(self):
        negative = False
        plus_minus = 0
        while self.here.kind == "op" and self.here.text in _SIGNS:
            sign = self.take().text
            if sign == "-":
                negative = not negative
            elif sign != "+":
                plus_minus = 1 if sign == "+-" else -1
        self.skip_empty_groups()
        value = self.product()
        if negative:
            value = ex.negated(_ungrouped(value))
        return ex.PlusMinus(plus_minus, value) if plus_minus else value

    def product(self):
        factors = [self.factor()]
        while True:
            if self.accept("*"):
                factors.append(self.signed_factor())
            elif self.accept("/"):
                factors.append(ex.Pow(self.signed_factor(), ex.MINUS_ONE))
            elif self.at("mod"):
                self.take()
                factors = [ex.Call("mod", (ex.product(factors), self.signed_factor()))]
            elif self.starts_operand():
                if self.here.kind == "num" and self.follows_number():
                    raise Unreadable("two numbers side by side")
                factors.append(self.factor())
            elif self.at("{") and self.peek().text == "}":
                self.skip_empty_groups()
            else:
                if len(factors) > 1:
                    factors = [_ungrouped(factor) for factor in factors]
                return ex.product(factors)

    def signed_factor(self):
        negative = False
        while self.here.text in ("+", "-") and self.here.kind == "op":
            negative ^= self.take().text == "-"
        value = self.factor()
        return ex.negated(value) if negative else value

    def follows_number(self):
        before = self.tokens[self.index - 1] if self.index else _END
        return before.kind == "num"

    def starts_operand(self):
        token = self.here
        if token.kind in ("num", "name", "digits", "begin"):
            return not latex_commands.at_differential(self)
        if token.kind == "cmd":
            ends = token.text in _IGNORED or self.opens_qualifier()
            return not ends and not literals.starts_unit(self)
        if token.kind != "op" or literals.starts_unit(self):
            return False
        if token.text == "|":
            return self.bars == 0 and not self.in_set
        if token.text == "{" and self.peek().text == "}":
            return False
        if token.text == "(" and (self.opens_remark() or self.index in self.stated):
            return False
        return token.text in ("(", "[", "{", "lfloor", "lceil", "...")

    def factor(self):
        return _suffixed(self, self.atom())

    def next_in_chain(self, count):
        if count == _MOST_CHAINED:
            raise Unreadable("too long a chain")
        return count + 1

    def deeper(self):
        self.depth += 1
        if self.depth > ex.DEEPEST:
            raise Unreadable("nested too deeply")

    # Atoms.

    def atom(self):
        token = self.here
        if token.kind == "num":
            return literals.take_number(self)
        if token.kind == "name":
            self.take()
            return _CONSTANTS.get(token.text) or ex.Sym(token.text)
        if token.kind == "digits":
            self.take()
            self.expect("_")
            base = literals.take_label(self).strip("()")
            return literals.based(token.text, int(base))
        if token.kind == "begin":
            return latex_commands.environment(self)
        if token.kind == "cmd":
            return latex_commands.command(self)
        if token.kind == "op":
            return latex_commands.delimited(self)
        if token.kind == "end":
            raise Unreadable("it ends too early")
        raise Unreadable(f"did not expect {token.text!r}")

    def argument(self):
        """Takes one argument of a command: a group, or a single digit or symbol."""
        self.deeper()
        if self.at("{"):
            node = self.group()
        elif self.here.kind == "num":
            node = literals.literal(literals.take_digit(self))
        else:
            node = self.atom()
        self.depth -= 1
        return node

    def group(self):
        """{...}: whatever stands in it."""
        self.deeper()
        self.expect("{")
        bars, self.bars = self.bars, 0
        node = self.items()
        if self.accept("choose"):
            node = ex.Call("binomial", (node, self.items()))
        self.bars = bars
        self.expect("}")
        self.depth -= 1
        return node


def _ungrouped(node):
    """Returns what square brackets group as parentheses would: 4[x + 1].

    Brackets around one symbol, a root or a quotient may mean its whole part, and stay.
    """
    if not (isinstance(node, ex.Bracket) and node.open == "[" and node.close == "]"):
        return node
    inside = node.items[0]
    if len(node.items) > 1 or not isinstance(inside, ex.Add | ex.Mul):
        return node
    if isinstance(inside, ex.Mul) and any(map(_divides, inside.factors)):
        return node
    return inside


def _divides(factor):
    return isinstance(factor, ex.Pow) and factor.exponent == ex.MINUS_ONE


# What may stand behind an atom: ! % degree ' _ ^ and a function's brackets.


def _suffixed(parser, node):
    """Takes whatever stands behind an atom and belongs to it."""
    count = 0
    while parser.here.kind == "op":
        text, count = parser.here.text, parser.next_in_chain(count)
        if text == "!":
            parser.take()
            double = parser.accept("!")
            node = ex.Call("factorial2" if double else "factorial", (node,))
        elif text == "%":
            parser.take()
            node = ex.Percent(node)
        elif text == "deg":
            parser.take()
            node = ex.Degrees(_with_minutes(parser, node))
        elif text == "^":
            node = _power(parser, _ungrouped(node))
        elif text == "_":
            node = _subscript(parser, node)
        elif text == "'" and isinstance(node, ex.Sym):
            parser.take()
            node = ex.Sym(node.name + "'")
        else:
            break
    if parser.at("("):
        if isinstance(node, ex.Sym):
            return _application(parser, node)
        if isinstance(node, ex.Pow) and node.exponent == ex.MINUS_ONE:
            if isinstance(node.base, ex.Sym) and node.base.name in _FUNCTIONS:
                return _application(parser, ex.Sym(node.base.name + "^-1"))
    return node


def _with_minutes(parser, degrees):
    """Takes the minutes and seconds of arc behind degrees: 30° 15' 20''."""
    terms = [degrees]
    for size, marks in ((60, ["'"]), (3600, ["'", "'"])):
        behind = [parser.peek(place).text for place in range(1, len(marks) + 2)]
        if parser.here.kind != "num" or behind[:-1] != marks or behind[-1] == "'":
            continue
        part = literals.literal(parser.take().text)
        terms.append(ex.quotient(part, ex.Num(Fraction(size))))
        for _ in marks:
            parser.take()
    return ex.Add(tuple(terms)) if len(terms) > 1 else degrees


def _power(parser, base):
    """Takes ^ and an exponent, or the primes of a symbol."""
    parser.take()
    if parser.at("{") and parser.peek().text == "'":
        return _primed(parser, base)
    if base in _FIELDS and parser.here.text in ("+", "*"):
        return ex.Const(f"{base.name}{parser.take().text}")
    if parser.here.text in ("-", "+") and parser.here.kind == "op":
        sign = parser.take().text
        inner = parser.factor()
        return ex.Pow(base, ex.negated(inner) if sign == "-" else inner)
    parser.deeper()
    exponent = parser.group() if parser.at("{") else parser.atom()
    if parser.at("^"):
        exponent = _power(parser, exponent)
    parser.depth -= 1
    return ex.Pow(base, exponent)


def _primed(parser, symbol):
    parser.take()
    primes = ""
    while parser.accept("'"):
        primes += "'"
    parser.expect("}")
    if not isinstance(symbol, ex.Sym):
        raise Unreadable("a prime on something that is no symbol")
    return ex.Sym(symbol.name + primes)


def _subscript(parser, node):
    parser.take()
    label = literals.take_label(parser)
    digits = literals.digits_of(node)
    bare = str(lexicon.NUMBERS.get(label, label.strip("()")))
    if digits is not None and bare.isdigit() and len(bare) <= 2:
        return literals.based(digits, int(bare))
    if node == _REALS and label in _HALVES:
        return ex.Const(_HALVES[label])
    if isinstance(node, ex.Sym) or node in _FIELDS:
        return ex.Sym(f"{node.name}_{label}")
    raise Unreadable("a subscript on something that is no symbol")


def _application(parser, symbol):
    """f(x): a function's name before brackets, unless it reads as a product."""
    inner = parser.peek()
    closes = parser.peek(2).text == ")"
    named = symbol.name[:1] in _FUNCTIONS
    if inner.kind == "name" and inner.text != symbol.name:
        named = named or closes  # y(t)
    if symbol.name[:1].isupper():
        number = inner.kind == "num" and closes
        said = inner.kind == "word"  # P(red)
        named = named or number or said or parser.index in parser.stated  # P(X = 1)
    if not named:
        return symbol
    parser.take()
    inside = parser.items()
    parser.expect(")")
    args = inside.items if isinstance(inside, ex.Items) else (inside,)
    return ex.Call("apply " + symbol.name, args)


def _statements(tokens):
    """Returns the places of the parentheses that hold a relation themselves."""
    stack, found = [], set()
    for place, token in enumerate(tokens):
        if token.kind != "op":
            continue
        if token.text in _OPENERS:
            stack.append(place if token.text == "(" else None)
        elif token.text in _CLOSERS and stack:
            stack.pop()
        elif token.text in _STATED and stack and stack[-1] is not None:
            found.add(stack[-1])
    for place, (name, verb) in enumerate(zip(tokens[1:], tokens[2:], strict=False)):
        said = name.kind == "name" and verb.text.lower() in lexicon.COPULAS
        if said and tokens[place].text == "(":
            found.add(place)  # (n is an integer)
    return found
