"""What an answer can mean, beside a value: the records that `reading` returns.

A meaning is a value node of `expression`, text, a tuple or matrix, a
`regions.Region`, or one of these.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """name = value; `equation` is the two sides as they stood."""

    name: object
    value: object
    equation: object


@dataclasses.dataclass(frozen=True, slots=True)
class Many:
    """Members without order; `braces` if a set was written as one.

    `ordered` unless they are alternatives, 1 or 2: no point has those coordinates.
    """

    name: object
    members: tuple
    braces: bool = False
    ordered: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Equation:
    """left op right that names no value and bounds no single variable."""

    op: str
    left: object
    right: object


@dataclasses.dataclass(frozen=True, slots=True)
class Approximate:
    """A value and its rounding, which is written beside it: sqrt 2, about 1.41."""

    exact: object
    rounded: object
