"""Units of measurement: which words are one, of what dimension, how large.

A unit is (dimensions, scale): centimeters per second are ({length: 1, time: -1},
1/100). Two recognized units that differ in dimension or, scaled, in value make
two answers differ; a noun that is no unit ("apples") is merely a label.
"""

import collections
import dataclasses
from fractions import Fraction

from maspo_jax.rewards.mathematics.language import expression as ex

_UNNAMED = "unit"
# dimension -> {spelling: how many of the dimension's base unit}
_TABLE = {
    "length": {
        "m meter metre": 1, "cm centimeter centimetre": "1/100",
        "mm millimeter millimetre": "1/1000", "km kilometer kilometre": 1000,
        "in inch inches": "127/5000", "ft foot feet": "381/1250",
        "yd yard": "1143/1250", "mi mile": "201168/125", "dm decimeter": "1/10",
        "nm nanometer": "1/1000000000", "nmi": 1852,
    },
    "area": {"acre": "316160658/78125", "hectare ha": 10000},
    "mass": {
        "kg kilogram kilo": 1, "g gram gm": "1/1000", "mg milligram": "1/1000000",
        "lb lbs pound": "45359237/100000000", "oz ounce": "45359237/1600000000",
        "ton tonne": 1000,
    },
    "time": {
        "s sec second": 1, "min mins minute": 60, "h hr hrs hour": 3600,
        "day": 86400, "week": 604800, "month": 2629800, "yr year": 31557600,
        "ms millisecond": "1/1000",
    },
    "money": {"dollar usd bucks": 1, "cent penny pennies": "1/100"},
    "euro": {"euro eur €": 1},
    "sterling": {"gbp £": 1},
    "yen": {"yen": 1},
    "rupee": {"rupee rs": 1},
    "yuan": {"yuan rmb": 1, "jiao": "1/10", "fen": "1/100"},
    "ruble": {"ruble rouble": 1}, "krw": {"krw": 1}, "peso": {"peso": 1},
    "vnd": {"vnd": 1}, "shekel": {"shekel": 1}, "lira": {"lira": 1},
    "baht": {"baht": 1},
    "angle": {"degree deg": 1}, "radian": {"radian rad": 1},
    "volume": {  # in cubic meters, so that 5 cm^3 is 5 mL
        "liter litre l L": "1/1000", "ml milliliter mL": "1/1000000",
        "gallon gal": "473176473/125000000000",
        "quart qt": "473176473/500000000000", "pint": "473176473/1000000000000",
        "cup": "473176473/2000000000000",
    },
    "temperature": {"celsius": 1}, "temperature F": {"fahrenheit": 1},
    "kelvin": {"kelvin K": 1},
    "force": {"N newton": 1}, "energy": {"J joule": 1, "kj kJ kilojoule": 1000},
    "power": {"W watt": 1, "kw kW kilowatt": 1000}, "voltage": {"V volt": 1},
    "current": {"A ampere amp": 1}, "frequency": {"hz Hz hertz": 1},
    "amount": {"mol mole": 1}, "information": {"byte": 1},
    "before noon": {"am AM a.m.": 1}, "after noon": {"pm PM p.m.": 1},
    "clock": {"o'clock": 1},
    # Of unnamed units any length may be one; what they count, if no power is on them.
    _UNNAMED: {"unit": 1},
    **{month: {month: 1} for month in (
        "january", "february", "march", "april", "june", "july", "august",
        "september", "october", "november", "december",
    )},
}  # fmt: skip

_OF_LENGTH = {"volume": ("length", 3), "area": ("length", 2)}
_CURRENCIES = frozenset(
    "money euro sterling yen rupee yuan ruble krw peso vnd shekel lira baht".split()
)

# Spelling that stands for a whole unit expression.
_COMPOUND = {
    "mph": ("mile", "/", "hour"),
    "kph": ("kilometer", "/", "hour"),
    "kmh": ("kilometer", "/", "hour"),
    "mps": ("meter", "/", "second"),
    "fps": ("foot", "/", "second"),
    "sqft": ("square", "foot"),
    "knot": ("nmi", "/", "hour"),
    "knots": ("nmi", "/", "hour"),
}
_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3}

_UNITS = {
    spelling: (dimension, Fraction(scale))
    for dimension, rows in _TABLE.items()
    for spellings, scale in rows.items()
    for spelling in spellings.split()
}


# Symbols that take a prefix, and the prefixes.
_SYMBOLS = {name: _UNITS[name] for name in "g s N J W V A Hz m".split()}
_PREFIXES = {
    prefix: Fraction(10) ** power
    for prefix, power in {"n": -9, "μ": -6, "m": -3, "k": 3, "M": 6, "G": 9}.items()
}


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """Sorted (dimension, exponent) pairs, and the size in base units."""

    dimensions: tuple
    scale: Fraction
    modulus: str | None = None  # of a congruence: "7" in 3 (mod 7)

    @property
    def size(self):
        """The size in base units, as a node; a radian is 180 / pi degrees."""
        if self.dimensions == RADIAN.dimensions:
            return ex.quotient(ex.Num(Fraction(180)), ex.Const("pi"))
        return ex.Num(self.scale)


PERCENT = Unit((("percent", 1),), Fraction(1))
DEGREE = Unit((("angle", 1),), Fraction(1))
RADIAN = Unit((("radian", 1),), Fraction(1))
_ANGLES = {DEGREE.dimensions, RADIAN.dimensions}


def differ_in_size(first, second):
    """Whether values in two units that agree have to be converted."""
    dimensions = {first.dimensions, second.dimensions}
    alike = len(dimensions) == 1 or dimensions == _ANGLES
    return alike and first.size != second.size


def agree(first, second):
    """Whether two units measure the same kind of thing."""
    dimensions = {first.dimensions, second.dimensions}
    if len(dimensions) == 1 or dimensions == _ANGLES:
        return True
    for unit, other in ((first, second), (second, first)):
        rest = set(other.dimensions) - set(unit.dimensions)
        if len(unit.dimensions) == 1 and unit.dimensions[0][0] in _CURRENCIES:
            if len(rest) < len(other.dimensions) and all(p < 0 for _, p in rest):
                return True  # $15 per hour
        if unit.dimensions[0][0] == _UNNAMED and len(unit.dimensions) == 1:
            power = unit.dimensions[0][1]
            lengths = len(other.dimensions) == 1 and other.dimensions[0][0] == "length"
            counted = power == 1 and other.dimensions[0][0] != _UNNAMED
            return other.dimensions[0][1] == power if lengths else counted
    return False


def lookup(word):
    """Returns (dimension, size) of the unit a word names, or None."""
    prefixed = _PREFIXES.get(word[:1]), _SYMBOLS.get(word[1:])
    if None not in prefixed and word not in _UNITS:  # Mg, mW: the case counts
        size, (dimension, scale) = prefixed
        return dimension, size * scale
    return _spelled(word)


def _spelled(word):
    """Returns (dimension, size) of a unit of the table, or None."""
    for spelling in (word, word.lower(), word.lower().removesuffix("s")):
        if spelling in _UNITS:
            return _UNITS[spelling]
    return None


def is_money(word):
    """Whether a word names a currency, which may stand before its number."""
    unit = lookup(word)
    return unit is not None and unit[0] in _CURRENCIES


def takes_exponent(word):
    """Whether a word may be squared: a unit, or "units" where none is named."""
    return lookup(word) is not None


def is_unit(word):
    """Whether a word of two letters or more names a unit, were it no product: 2 MN."""
    low = word.lower()
    return len(word) > 1 and bool(low in _COMPOUND or low in _POWERS or _spelled(word))


def unit_of(words):
    """Returns the `Unit` of a phrase, or None if any part of it is no unit.

    Args:
        words: spellings in order, such as ("m", "/", "s", "^", "2") or
            ("square", "inches").
    """
    if tuple(words[:1]) == ("mod",):  # a modulus may be left out, as a unit may
        return Unit(((" ".join(words), 1),), Fraction(1), words[1])
    factors = _factors(_phrase(words))
    if factors is None:
        return None
    powers, scale = collections.Counter(), Fraction(1)
    for (dimension, size), power in factors:
        base, exponent = _OF_LENGTH.get(dimension, (dimension, 1))
        powers[base] += exponent * power
        scale *= size**power
    dimensions = tuple(sorted((d, p) for d, p in powers.items() if p))
    return Unit(dimensions, scale) if dimensions else None


def _phrase(words):
    """Returns the words with mph spelled out and without "degrees" of temperature."""
    phrase = []
    for word in words:
        phrase.extend(_COMPOUND.get(word.lower(), (word,)))
    if len(phrase) > 1 and phrase[0].lower() in ("degree", "degrees"):
        unit = lookup(phrase[1])
        if unit and unit[0].startswith("temperature"):
            del phrase[0]
    return phrase


def _factors(phrase):
    """Returns [unit, power] pairs, or None if any part of a phrase is no unit."""
    factors, sign, power = [], 1, 1
    words = iter(phrase)
    for word in words:
        low = word.lower()
        if word == "^":
            exponent = next(words, "")
            if not factors or not exponent.lstrip("-").isdigit() or len(exponent) > 2:
                return None
            factors[-1][1] *= int(exponent)
        elif word in ("/", "per"):
            sign = -1
        elif low in _POWERS and low.endswith("ed") and factors:  # meters squared
            factors[-1][1] *= _POWERS[low]
        elif low in _POWERS:  # square meters
            power = _POWERS[low]
        elif word not in ("-", "*"):
            unit = lookup(word)
            if unit is None:
                return None
            factors.append([unit, sign * power])
            power = 1
    return factors
