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

import functools

from maspo_jax.rewards import expression as ex
from maspo_jax.rewards import lexicon, units
from maspo_jax.rewards.tokens import Token, Unreadable, tokenize

RELATIONS = frozenset(["=", "<", ">", "<=", ">=", "!=", "in", "notin", "~="])
_SEPARATORS = frozenset([",", ";", "and", "or"])
_CLOSERS = {"(": ")", "[": "]", "\\{": "\\}", "<|": "|>"}
_END = Token("end", "")
_GROUPED = frozenset(["overline", "vec", "hat", "widetilde", "tilde", "dot", "ddot"])
_IGNORED = frozenset(["angle", "triangle", "therefore", "implies", "Rightarrow"])


@functools.lru_cache(maxsize=8192)
def parse(text):
    """Returns the tree of a text, or raises `Unreadable`."""
    return parse_tokens(tokenize(text))


def parse_tokens(tokens):
    """Returns the tree of a token sequence, or raises `Unreadable`."""
    parser = Parser(tokens)
    try:
        node = parser.items()
    except (ValueError, RecursionError) as refusal:
        raise Unreadable(str(refusal)) from None
    if parser.here.kind != "end":
        raise Unreadable(f"did not expect {parser.here.text!r}")
    return node


class Parser:
    """One pass over one token sequence."""

    def __init__(self, tokens):
        self.tokens = tokens
        self.index = 0
        self.here = tokens[0] if tokens else _END
        self.depth = 0
        self.bars = 0  # open absolute values

    def take(self):
        token = self.here
        self.index += 1
        more = self.index < len(self.tokens)
        self.here = self.tokens[self.index] if more else _END
        return token

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
            if self.here.kind == "end" and link in (",", ";"):
                break
            links.append(link)
            found.append(self.relation())
        return ex.Items(tuple(found), tuple(links)) if links else found[0]

    def relation(self):
        while self.here.text == "~=" or self.here.text in _IGNORED:
            self.take()
        sides, ops = [self.union()], []
        while self.here.kind == "op" and self.here.text in RELATIONS:
            op = self.take().text
            ops.append("=" if op == "~=" else op)
            sides.append(self.union())
        return ex.Relation(tuple(ops), tuple(sides)) if ops else sides[0]

    def union(self):
        left = self.ratio()
        while self.here.text in ("cup", "cap", "setminus") and self.here.kind == "op":
            op = self.take().text
            left = ex.SetOp(op, left, self.ratio())
        return left

    def ratio(self):
        parts = [self.quantity()]
        while self.accept(":"):
            parts.append(self.quantity())
        return _ratio(parts) if len(parts) > 1 else parts[0]

    def quantity(self):
        if self.here.kind == "word":
            words = self.words()
            if self.starts_operand() and units.read(words[-1:]) and len(words) == 1:
                return ex.Quantity(self.sum(), tuple(words))  # $18
            if (
                self.here.kind == "op"
                and self.here.text in "+-"
                and words == ["dollars"]
            ):
                return ex.Quantity(self.sum(), tuple(words))
            return ex.Text(tuple(words))
        value = self.sum()
        if self.here.kind != "word":
            return value
        if isinstance(value, ex.Mul) and value.factors[-1:] == (_CURRENCY,):
            raise Unreadable("two units")
        return ex.Quantity(value, tuple(self.words()))

    def words(self):
        """Takes a phrase of words, with the /, -, ^2 that units are written with."""
        phrase = []
        while True:
            if self.here.kind == "word":
                phrase.append(self.take().text)
            elif self.here.text in ("/", "-", "*") and self.peek().kind == "word":
                phrase.append(self.take().text)
            elif self.at("^") and units.is_unit(phrase[-1] + "s"):
                phrase.extend(self.exponent_of_unit())
            elif self.here.kind == "name" and self.peek().kind == "word" and phrase:
                phrase.append(self.take().text)  # "a" in "such a thing"
            else:
                return phrase

    def exponent_of_unit(self):
        self.take()
        braced = self.accept("{")
        sign = "-" if self.accept("-") else ""
        if self.here.kind != "num":
            raise Unreadable("a unit's exponent is a number")
        power = sign + self.take().text
        if braced:
            self.expect("}")
        return ["^", power]

    # Values.

    def sum(self):
        self.depth += 1
        if self.depth > ex.DEEPEST:
            raise Unreadable("nested too deeply")
        terms = [self.signed()]
        while self.here.kind == "op" and self.here.text in ("+", "-", "+-", "-+"):
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
        while self.here.kind == "op" and self.here.text in ("+", "-", "+-", "-+"):
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
                left = ex.Mul(tuple(factors)) if len(factors) > 1 else factors[0]
                factors = [ex.Call("mod", (left, self.signed_factor()))]
            elif self.starts_operand():
                if self.here.kind == "num" and self.follows_number():
                    raise Unreadable("two numbers side by side")
                factors.append(self.factor())
            elif self.at("{") and self.peek().text == "}":
                self.skip_empty_groups()
            else:
                return ex.Mul(tuple(factors)) if len(factors) > 1 else factors[0]

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
            return True
        if token.kind == "cmd":
            return token.text not in _IGNORED
        if token.kind != "op":
            return False
        if token.text == "|":
            return self.bars == 0
        if token.text == "{" and self.peek().text == "}":
            return False
        return token.text in ("(", "[", "{", "lfloor", "lceil", "...")

    def factor(self):
        node = self.atom()
        while self.here.kind == "op":
            text = self.here.text
            if text == "!":
                self.take()
                double = self.accept("!")
                node = ex.Call("factorial2" if double else "factorial", (node,))
            elif text == "%":
                self.take()
                node = ex.Percent(node)
            elif text == "deg":
                self.take()
                node = ex.Degrees(node)
            elif text == "^":
                node = self.power(node)
            elif text == "_":
                node = self.subscript(node)
            elif text == "'" and isinstance(node, ex.Sym):
                self.take()
                node = ex.Sym(node.name + "'")
            else:
                break
        if isinstance(node, ex.Sym) and self.at("("):
            return self.application(node)
        return node

    def power(self, base):
        self.take()
        if self.at("{") and self.peek().text == "'":
            self.take()
            primes = ""
            while self.accept("'"):
                primes += "'"
            self.expect("}")
            if not isinstance(base, ex.Sym):
                raise Unreadable("a prime on something that is no symbol")
            return ex.Sym(base.name + primes)
        if self.here.text in ("-", "+") and self.here.kind == "op":
            sign = self.take().text
            inner = self.factor()
            return ex.Pow(base, ex.negated(inner) if sign == "-" else inner)
        self.deeper()
        exponent = self.group() if self.at("{") else self.atom()
        while self.at("!"):
            self.take()
            exponent = ex.Call("factorial", (exponent,))
        if self.at("^"):
            exponent = self.power(exponent)
        self.depth -= 1
        return ex.Pow(base, exponent)

    def deeper(self):
        self.depth += 1
        if self.depth > ex.DEEPEST:
            raise Unreadable("nested too deeply")

    def subscript(self, node):
        self.take()
        label = self.label()
        digits = _digits(node)
        bare = label.strip("()")
        if digits is not None and bare.isdigit() and len(bare) <= 2:
            return _based(digits, int(bare))
        if isinstance(node, ex.Sym):
            return ex.Sym(f"{node.name}_{label}")
        raise Unreadable("a subscript on something that is no symbol")

    def label(self):
        """Takes a subscript and returns its spelling."""
        if not self.accept("{"):
            return self.take().text
        depth, spelled = 1, []
        while depth:
            token = self.take()
            if token.kind == "end":
                raise Unreadable("a subscript that never closes")
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            spelled.append(token.text)
        return "".join(spelled[:-1])

    def application(self, symbol):
        """f(x): a function's name before brackets, unless it reads as a product."""
        inner = self.peek()
        closes = self.peek(2).text == ")"
        named = symbol.name.rstrip("'")[:1] in "fghFGH"
        if named or (closes and inner.kind == "name" and inner.text != symbol.name):
            self.take()
            inside = self.items()
            self.expect(")")
            args = inside.items if isinstance(inside, ex.Items) else (inside,)
            return ex.Call("apply " + symbol.name, args)
        return symbol

    # Atoms.

    def atom(self):
        token = self.here
        if token.kind == "num":
            return self.number()
        if token.kind == "name":
            self.take()
            return _CONSTANTS.get(token.text) or ex.Sym(token.text)
        if token.kind == "digits":
            self.take()
            self.expect("_")
            return _based(token.text, int(self.label().strip("()")))
        if token.kind == "begin":
            return self.environment()
        if token.kind == "cmd":
            return self.command()
        if token.kind == "op":
            return self.delimited()
        raise Unreadable(f"did not expect {token.text!r}")

    def number(self):
        value = _numeral(self.take().text)
        if (
            not isinstance(value, ex.Num)
            or value.digits
            or value.value.denominator != 1
        ):
            return value
        fraction = self.proper_fraction()
        return value if fraction is None else ex.Num(value.value + fraction)

    def proper_fraction(self):
        """Takes the fraction of a mixed number, if one follows: 2\\frac13, 2 1/3."""
        start = self.index
        if self.here.text == "frac" and self.here.kind == "cmd":
            self.take()
            top, bottom = self.digit_group(), self.digit_group()
        elif self.here.kind == "num" and self.here.spaced and self.peek().text == "/":
            top = self.take().text
            self.take()
            bottom = self.take().text if self.here.kind == "num" else None
        else:
            return None
        if top and bottom and top.isdigit() and bottom.isdigit() and int(bottom):
            return ex.Fraction(int(top), int(bottom))
        self.index = start - 1
        self.take()
        return None

    def digit_group(self):
        """Takes {12}, or one digit of a number, and returns it; None if neither."""
        if self.here.kind == "num":
            return self.first_digit()
        if self.at("{") and self.peek().kind == "num" and self.peek(2).text == "}":
            self.take()
            digits = self.take().text
            self.take()
            return digits
        return None

    def first_digit(self):
        token = self.here
        if len(token.text) == 1:
            return self.take().text
        rest = Token("num", token.text[1:])
        self.tokens = (
            *self.tokens[: self.index],
            Token("num", token.text[0]),
            rest,
            *self.tokens[self.index + 1 :],
        )
        self.here = self.tokens[self.index]
        return self.take().text

    def argument(self):
        """Takes one argument of a command: a group, or a single digit or symbol."""
        self.deeper()
        if self.at("{"):
            node = self.group()
        elif self.here.kind == "num":
            node = _numeral(self.first_digit())
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

    def delimited(self):
        opener = self.here.text
        if opener == "{":
            if self.peek().text == "}":
                raise Unreadable("an empty group")
            return self.group()
        if opener == "...":
            self.take()
            return ex.Sym("...")
        self.deeper()
        bars, self.bars = self.bars, 0
        if opener in _CLOSERS:
            node = self.bracketed(opener)
        elif opener == "|":
            self.take()
            self.bars = 1
            node = ex.Call("abs", (self.sum(),))
            self.expect("|")
        elif opener in ("lfloor", "lceil"):
            self.take()
            node = ex.Call(opener[1:], (self.sum(),))
            self.expect("r" + opener[1:])
        else:
            raise Unreadable(f"did not expect {opener!r}")
        self.bars = bars
        self.depth -= 1
        return node

    def bracketed(self, opener):
        self.take()
        if opener == "\\{" and self.accept("\\}"):
            return ex.Const("emptyset")
        if opener == "\\{" and self.here.kind == "begin":
            return self.system()
        inside = self.items()
        close = self.here.text
        if opener in "([" and close in (")", "]") and self.here.kind == "op":
            self.take()
        else:
            self.expect(_CLOSERS[opener])
        items = inside.items if isinstance(inside, ex.Items) else (inside,)
        if opener == "\\{":
            return ex.Braces(items)
        if len(items) == 1 and opener == "(" and close == ")":
            return inside
        if len(items) == 1 and isinstance(inside, ex.Matrix):
            return inside
        if opener == "<|":
            opener, close = "(", ")"
        return ex.Bracket(opener, items, close)

    def system(self):
        node = self.environment()
        self.accept("\\}")
        rows = [row[0] for row in node.rows if len(row) == 1]
        if len(rows) != len(node.rows):
            return ex.Matrix("cases", node.rows)
        return ex.Items(tuple(rows), (",",) * (len(rows) - 1))

    def environment(self):
        kind = self.take().text
        rows, row = [], []
        while not (self.here.kind == "end" and self.here.text == kind):
            if self.here is _END:
                raise Unreadable("an environment that never ends")
            if self.accept("\\\\"):
                rows.append(tuple(row))
                row = []
            elif self.accept("&"):
                continue
            else:
                row.append(self.items())
        self.take()
        if row:
            rows.append(tuple(row))
        if not rows or len({len(row) for row in rows}) != 1:
            raise Unreadable("rows of unequal length")
        return ex.Matrix(kind, tuple(rows))

    def command(self):
        name = self.take().text
        if name == "frac":
            return self.fraction()
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ex.Call("binomial", (self.argument(), self.argument()))
        if name in lexicon.FUNCTIONS:
            return self.function(name)
        if name in _GROUPED:
            return ex.Call(name, (self.argument(),))
        if name in lexicon.CONSTANTS or name.startswith("field "):
            return ex.Const(name)
        if name in lexicon.GREEK:
            return ex.Sym(name)
        if name in ("textcolor", "boxed", "fbox"):
            if name == "textcolor":
                self.label()
            return self.argument()
        raise Unreadable(f"unknown command {name!r}")

    def fraction(self):
        derivative = (
            self.at("{") and self.peek().text == "d" and self.peek(2).text != "}"
        )
        top, bottom = self.argument(), self.argument()
        if derivative:
            return ex.Call("derivative", (top, bottom))
        return ex.quotient(top, bottom)

    def root(self):
        index = ex.TWO
        if self.at("["):
            self.take()
            index = self.sum()
            self.expect("]")
        if self.here.kind == "num":
            radicand = _numeral(self.take().text)
        else:
            radicand = self.argument()
        return ex.Pow(radicand, ex.quotient(ex.ONE, index))

    def function(self, name):
        self.deeper()
        base = power = None
        while self.here.text in ("_", "^") and self.here.kind == "op":
            if self.take().text == "_":
                base = self.argument_or_number()
            else:
                power = self.argument_or_number()
        args = self.function_arguments()
        if name == "log":
            args = (*args, base or ex.Num(ex.Fraction(10)))
        elif name == "lg":
            name, args = "log", (*args, ex.Num(ex.Fraction(10)))
        elif base is not None:
            raise Unreadable(f"a subscript on {name}")
        self.depth -= 1
        if power == ex.MINUS_ONE and name in ("sin", "cos", "tan", "cot"):
            return ex.Call("a" + name, args)
        node = ex.Call(name, args)
        return node if power is None else ex.Pow(node, power)

    def argument_or_number(self):
        if self.here.kind == "num":
            return _numeral(self.take().text)
        return self.argument()

    def function_arguments(self):
        if self.here.text in ("(", "\\{", "[") and self.here.kind == "op":
            close = _CLOSERS[self.take().text]
            bars, self.bars = self.bars, 0
            inside = self.items()
            self.bars = bars
            self.expect(close)
            return inside.items if isinstance(inside, ex.Items) else (inside,)
        factors = [self.signed_factor()]
        while self.starts_operand() and not self.starts_function():
            factors.append(self.factor())
        return (ex.Mul(tuple(factors)) if len(factors) > 1 else factors[0],)

    def starts_function(self):
        return self.here.kind == "cmd" and self.here.text in lexicon.FUNCTIONS - {
            "sqrt"
        }


_CONSTANTS = {"e": ex.Const("e"), "i": ex.Const("i")}
_CURRENCY = ex.Sym("$")


def _numeral(text):
    """Returns the value of a literal; a huge power of ten is left as one."""
    mantissa, _, power = text.replace("E", "e").partition("e")
    if power and abs(int(power[:30])) > 400:
        tens = ex.Pow(ex.Num(ex.Fraction(10)), ex.numeral(power.lstrip("+")))
        return ex.Mul((ex.numeral(mantissa), tens))
    return ex.numeral(text)


def _digits(node):
    if isinstance(node, ex.Num) and node.value.denominator == 1 and not node.digits:
        return str(node.value) if node.value >= 0 else None
    return None


def _based(digits, base):
    if not 2 <= base <= 36:
        raise Unreadable("no such base")
    return ex.Based(digits, base)


def _ratio(parts):
    last = parts[-1]
    if isinstance(last, ex.Quantity):
        return ex.Quantity(ex.Ratio((*parts[:-1], last.value)), last.words)
    return ex.Ratio(tuple(parts))
