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
_FIELDS = frozenset(ex.Const(f"field {letter}") for letter in "CFNQRZ")
_FUNCTIONS = frozenset("fghFGH")  # letters that name functions
_STATED = frozenset(["=", "<", ">", "<=", ">=", "!="])
_END = Token("end", "")
_IGNORED = frozenset(["therefore", "implies", "Rightarrow"])


def parse(text):
    """Returns the tree of a text, or raises `Unreadable`."""
    return parse_tokens(tokenize(text))


def parse_tokens(tokens):
    """Returns the tree of a token sequence, or raises `Unreadable`."""
    parser = _Parser(tokens)
    try:
        node = parser.items()
    except (ValueError, RecursionError) as refusal:
        raise Unreadable(str(refusal)) from None
    if parser.here.kind != "end":
        raise Unreadable(f"did not expect {parser.here.text!r}")
    return node


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
        while self.here.kind == "op" and self.here.text in _SEPARATORS:
            link = self.take().text
            while self.here.text in ("and", "or") and self.here.kind == "op":
                link = self.take().text
            if link in (",", ";") and self.ends_row():
                break
            links.append(link)
            found.append(self.relation())
        return ex.Items(tuple(found), tuple(links)) if links else found[0]

    def ends_row(self):
        """Whether a comma here ends a row or the text, and separates nothing."""
        return self.here.kind == "end" or self.here.text in ("&", "\\\\")

    def relation(self):
        while self.here.text == "~=" or self.here.text in _IGNORED:
            self.take()
        sides, ops = [self.union()], []
        while self.here.kind == "op" and self.here.text in RELATIONS:
            ops.append(self.take().text)
            sides.append(self.union())
        return ex.Relation(tuple(ops), tuple(sides)) if ops else sides[0]

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
            return self.phrase()
        value = self.sum()
        if self.accept("over"):
            value = ex.quotient(value, self.sum())
        unit = literals.take_unit(self)
        return ex.Quantity(value, tuple(unit)) if unit else value

    def phrase(self):
        """Words: a unit before its number ($18), a statement, or plain text."""
        words = literals.take_words(self)
        signed = self.starts_operand() or self.here.text in _SIGNS
        if signed and units.unit_of(words) and len(words) == 1:
            return ex.Quantity(self.sum(), (*words, *literals.take_words(self)))
        if signed and len(words) > 1 and words[-1].lower() in lexicon.COPULAS:
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
        return ex.Add(tuple(terms)) if len(terms) > 1 else terms[0]

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
            value = ex.negated(value)
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
            return token.text not in _IGNORED and not literals.starts_unit(self)
        if token.kind != "op" or literals.starts_unit(self):
            return False
        if token.text == "|":
            return self.bars == 0 and not self.in_set
        if token.text == "{" and self.peek().text == "}":
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
            node = ex.Degrees(node)
        elif text == "^":
            node = _power(parser, node)
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


def _power(parser, base):
    """Takes ^ and an exponent, or the primes of a symbol."""
    parser.take()
    if parser.at("{") and parser.peek().text == "'":
        return _primed(parser, base)
    if base == _REALS and parser.accept("+"):
        return ex.Const("field R+")
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
        named = named or number or _holds_statement(parser)  # P(0), P(X = 1)
    if not named:
        return symbol
    parser.take()
    inside = parser.items()
    parser.expect(")")
    args = inside.items if isinstance(inside, ex.Items) else (inside,)
    return ex.Call("apply " + symbol.name, args)


def _holds_statement(parser):
    """Whether a relation stands in the brackets that open here."""
    ahead, open_brackets = 1, 1
    while open_brackets:
        token = parser.peek(ahead)
        if token.kind == "end":
            return False
        if open_brackets == 1 and token.kind == "op" and token.text in _STATED:
            return True
        open_brackets += {"(": 1, ")": -1}.get(token.text, 0)
        ahead += 1
    return False
