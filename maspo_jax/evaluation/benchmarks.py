"""What a policy is measured on.

Problems come from files the user has: no benchmark is part of this package.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable

from maspo_jax.data.sources import Problem, ProblemFile
from maspo_jax.rewards import declaration, grade
from maspo_jax.rewards.graders import Tolerant, grader_for


@dataclasses.dataclass(frozen=True)
class Published:
    """A benchmark others report on."""

    problems: int
    grader: Callable | None = None  # from `rewards.graders`; None: that of the policy


# Answers of Minerva are physical: numbers agree to a hundredth.
PUBLISHED = {
    "aime24": Published(30),
    "aime25": Published(30),
    "amc23": Published(40),
    "math500": Published(500),
    "minerva": Published(272, Tolerant(0.01)),
    "olympiadbench": Published(675),
}


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Problems under a name, and who grades the answers."""

    name: str
    problems: tuple
    grader: Callable | None = None  # None: that of the policy

    def grader_of(self, own):
        """Returns the grader of the answers of a policy, whose `own` grader is given.

        That is the benchmark's, or else `own` if it takes such problems, or `grade`.
        """
        if self.grader is not None:
            return self.grader
        return own if declaration.takes(own, self.problems[0].answer) else grade

    def settings(self, own=grade):
        """Returns what decides its score, as plain data.

        Args:
            own: the grader of the policy.
        """
        rows = [(p.id, p.question, p.answer) for p in self.problems]
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        grader = self.grader_of(own)
        grader = getattr(grader, "__name__", str(grader))
        if self.grader is None and self.grader_of(own) is own:
            grader = "of the policy"
        return {"problems": len(rows), "digest": digest[:16], "grader": grader}


def read_benchmarks(named):
    """Returns the benchmarks that are named.

    Args:
        named: a list: `NAME=FILE`, or `FILE` for one named like the file, as on a
            command line; a pair of a name and its problems, a sequence of them; or a
            `Benchmark`, which stays as it is. A name in `PUBLISHED` brings its grader,
            and its number of problems is checked; tasks that `grade` does not take,
            such as those of Countdown, bring theirs.

    Raises:
        TypeError: it is one benchmark and no list of them, or holds something else.
        ValueError: a word that names no file, two benchmarks of one name, or a file
            that does not hold the problems it should.
    """
    if isinstance(named, str | os.PathLike | Benchmark):
        raise TypeError(f"benchmarks={named!r:.60}: give a list of them, [...]")
    benchmarks = [_read(one) for one in named]
    if not benchmarks:
        raise ValueError("benchmarks=[]: give at least one, such as NAME=FILE")
    names = [benchmark.name for benchmark in benchmarks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"two benchmarks are called {name!r}: tell them apart with NAME=FILE"
            )
    return benchmarks


def _read(one):
    if isinstance(one, Benchmark):
        _check(one.name, one.problems, f"the benchmark {one.name!r}")
        return one
    if isinstance(one, str | os.PathLike):
        name, path = _split(os.fspath(one))
        return _benchmark(name, ProblemFile(path), path)
    if not (isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str)):
        raise TypeError(
            f"{one!r:.60} is no benchmark: give NAME=FILE, (name, problems) or a "
            "Benchmark"
        )
    name, source = one
    if isinstance(source, str | os.PathLike):
        source = ProblemFile(os.fspath(source))
    return _benchmark(name, source, f"the benchmark {name!r}")


def _split(word):
    """Returns the name and the file of a word of a command line."""
    name, equals, path = word.partition("=")
    if not equals:
        name, path = pathlib.Path(word).name.partition(".")[0], word
        if word.lower() in PUBLISHED and not pathlib.Path(word).exists():
            raise ValueError(
                f"{word} comes from a file of yours: write {word.lower()}=FILE"
            )
    return name, path


def _benchmark(name, source, place):
    """Returns the `Benchmark` of a name and of problems, which come from some place."""
    name = name.lower() if name.lower() in PUBLISHED else name
    problems = tuple(source[index] for index in range(len(source)))
    _check(name, problems, place)
    published = PUBLISHED.get(name, Published(len(problems)))
    if len(problems) != published.problems:
        raise ValueError(
            f"{name} has {published.problems} problems but {place} holds "
            f"{len(problems)}: correct the file, or call it by another name, NAME=FILE"
        )
    grader = published.grader
    if grader is None:
        grader = grader_for(problems[0].answer)
    return Benchmark(name, problems, grader)


def _check(name, problems, place):
    """Refuses what cannot name a file, and few, repeated or no problems."""
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        raise ValueError(
            f"{name!r} cannot name a benchmark; write NAME=FILE with letters, digits, "
            "_ and -"
        )
    if len(problems) < 2:
        count = f"{len(problems)} problem" + "s" * (len(problems) != 1)
        raise ValueError(f"{place} holds {count}: an interval takes at least 2")
    seen = set()
    for problem in problems:
        if not isinstance(problem, Problem):
            raise TypeError(f"{place} holds {problem!r:.60}: give `Problem`s")
        if problem.id in seen:
            raise ValueError(
                f"{place}: two problems have the id {problem.id!r}; give each its own, "
                "or two policies cannot be compared problem by problem"
            )
        seen.add(problem.id)
