r"""Problems made on the spot: the default task, which needs no download.

`3+8-2+7-9+4=?` is evaluated from left to right. Two kinds of solution teach a policy
from scratch: a worked one writes every step, `3+8=11. 11-2=9. ... \boxed{11}`, a
direct one only guesses, `\boxed{11}`. A policy warmed up mostly on direct solutions
can write the steps but prefers to guess; reinforcement learning finds out that
writing them pays.
"""

import dataclasses
import hashlib
import random
import string

from maspo_jax.data.prompts.tokenizer import PieceTokenizer
from maspo_jax.data.sources.problem import Problem
from maspo_jax.settings import check_intervals, setting

SPLITS = ("train", "test")
TEST_SHARE = 8  # one question in so many is never drawn for training


def tokenizer() -> PieceTokenizer:
    """Returns 76 tokens: digits one by one, operators, letters, the box, pad, end."""
    marks = ("\\boxed{", "}", *"+-*/=?.,", " ", "\n")
    return PieceTokenizer((*string.digits, *marks, *string.ascii_letters))


@dataclasses.dataclass(frozen=True)
class Chains:
    """A source of sums and differences of one-digit numbers, no value below zero.

    Problem i depends on the seed, the split and i alone. The two splits share no
    question, whatever their seeds, because the question itself decides its split.
    The questions do not depend on `direct`: it only shortens solutions.

    Attributes:
        numbers: how many one-digit numbers, each from 1 to 9.
        direct: share of problems whose solution is only the boxed answer.
        split: "train" or "test".
        seed: another seed is another set of problems.
        size: number of problems; chains of few numbers repeat within it.
    """

    numbers: int = setting(6, "[2, inf)")
    direct: float = setting(0.0, "[0, 1]")
    split: str = "train"
    seed: int = 0
    size: int = setting(65536, "[1, inf)")
    uniform = True  # of all sources; see `Source`

    def __post_init__(self):
        check_intervals(self)
        if self.split not in SPLITS:
            raise ValueError(f"split={self.split!r}: give one of {SPLITS}")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Problem:
        if not 0 <= index < self.size:
            raise IndexError(f"problem {index} of {self.size}")
        name = f"chain{self.numbers}-{self.split}-{self.seed}-{index}"
        rng = random.Random(name)
        # Drawn before the question, so that the share does not change questions.
        direct = rng.random() < self.direct
        question, steps, value = _chain(rng, self.numbers)
        while _split(question) != self.split:
            question, steps, value = _chain(rng, self.numbers)
        box = f"\\boxed{{{value}}}"
        solution = box if direct else f"{steps}{box}"
        return Problem(name, question, str(value), solution)


def _chain(rng: random.Random, numbers: int) -> tuple[str, str, int]:
    """Returns a question, the steps of its evaluation, and its value."""
    # `random()` is the one method whose draws Python keeps for ever.
    value = 1 + int(9 * rng.random())
    question, steps = str(value), ""
    for _ in range(numbers - 1):
        number, minus = 1 + int(9 * rng.random()), rng.random() < 0.5
        # A difference below zero becomes a sum.
        sign, result = "+", value + number
        if minus and number <= value:
            sign, result = "-", value - number
        question += f"{sign}{number}"
        steps += f"{value}{sign}{number}={result}. "
        value = result
    return f"{question}=?", steps, value


def _split(question: str) -> str:
    """Returns the split of a question, the same in every process."""
    digest = hashlib.blake2b(question.encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % TEST_SHARE == 0 else "train"
