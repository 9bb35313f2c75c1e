"""Frequencies of rotary position embeddings, and how checkpoints stretch them.

A head of width E turns its pair of coordinates i by position * theta^(-2i / E). A
checkpoint made for longer texts than it was first trained on slows some of the pairs
down; each way to do so is a dataclass that maps frequencies to frequencies, [E / 2].
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Linear:
    """All pairs slower by a factor: position interpolation, arXiv 2306.15595."""

    factor: float

    def __call__(self, frequency, theta):
        """Returns the frequencies, [E / 2], and the scale of queries and keys."""
        del theta
        return frequency / self.factor, 1.0


@dataclasses.dataclass(frozen=True)
class Llama3:
    """Slow pairs slower by a factor, fast ones as they are, a ramp between them.

    A pair is fast if it turns more than `high_turns` times within the original
    length, and slow below `low_turns`. Llama 3.1, arXiv 2407.21783.
    """

    factor: float
    low_turns: float
    high_turns: float
    original_length: int

    def __call__(self, frequency, theta):
        """Returns the frequencies, [E / 2], and the scale of queries and keys."""
        del theta
        turns = self.original_length * frequency / (2 * math.pi)
        share = (turns - self.low_turns) / (self.high_turns - self.low_turns)
        share = np.clip(share, 0, 1)
        return frequency * (share + (1 - share) / self.factor), 1.0


@dataclasses.dataclass(frozen=True)
class Yarn:
    """Slow pairs slower by a factor, and queries and keys scaled. arXiv 2309.00071.

    The ramp lies over the pairs that turn between `slow_turns` and `fast_turns`
    times within the original length, their numbers rounded outwards if `rounded`.
    `scale` multiplies queries and keys; None takes `magnitude(factor)`.
    """

    factor: float
    original_length: int
    fast_turns: float = 32.0
    slow_turns: float = 1.0
    scale: float | None = None
    rounded: bool = True

    def __call__(self, frequency, theta):
        """Returns the frequencies, [E / 2], and the scale of queries and keys."""
        half = len(frequency)
        first, last = (
            half * math.log(self.original_length / (turns * 2 * math.pi), theta)
            for turns in (self.fast_turns, self.slow_turns)
        )
        if self.rounded:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, 2 * half - 1)
        last = last if last > first else first + 1e-3
        slow = np.clip((np.arange(half) - first) / (last - first), 0, 1)
        scale = magnitude(self.factor) if self.scale is None else self.scale
        return frequency * (1 - slow + slow / self.factor), scale


def magnitude(factor, share=1.0):
    """Returns the scale that YaRN advises for a factor: 0.1 share log(factor) + 1."""
    return 0.1 * share * math.log(factor) + 1 if factor > 1 else 1.0


def frequencies(theta, width, scaling=None):
    """Returns how fast each pair of coordinates turns, and the scale of the result.

    Args:
        theta: the base.
        width: E, of a head.
        scaling: `Linear`, `Llama3`, `Yarn`, or None.

    Returns:
        [E / 2] float64, in radians per position, and a number that multiplies
        rotated queries and keys.
    """
    frequency = float(theta) ** (-np.arange(width // 2) / (width // 2))
    return (frequency, 1.0) if scaling is None else scaling(frequency, theta)
