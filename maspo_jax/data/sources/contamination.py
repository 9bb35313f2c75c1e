"""How much of a benchmark stands in a training source.

A benchmark problem is *found* if a training question has the same letters and
digits, or holds at least half of its word n-grams. Both are lower bounds: rewordings
and translations are not seen. Equal answers tell a copy from a re-posed question.
"""

import collections
import dataclasses
import re

from maspo_jax.data.sources.problem import Problem, Source

WORDS = 8  # n, of an n-gram
SHARE = 0.5  # of a problem's n-grams, from which it counts as found
_WORD = re.compile(r"[^\W_]+")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A benchmark problem and the training problem that is most like it."""

    benchmark: str  # id
    training: str  # id
    equal: bool  # letters and digits
    overlap: float  # share of the benchmark problem's n-grams in the training question
    same_answer: bool


@dataclasses.dataclass(frozen=True)
class Report:
    """What of one benchmark was found in a training source."""

    benchmark: str
    problems: int
    findings: tuple[Finding, ...]

    def count(self, *properties: str) -> int:
        """Returns how many findings have all of some properties."""
        return sum(all(getattr(f, p) for p in properties) for f in self.findings)


def compare(
    training: Source, benchmarks: dict[str, Source], words: int = WORDS
) -> list[Report]:
    """Returns a `Report` for each benchmark, in order.

    Args:
        training: the problems that a policy is trained on.
        benchmarks: name -> problems that it is measured on.
        words: n. Problems of fewer words are compared as a whole only.
    """
    index = Index(benchmarks, words)
    best = {}
    for position in range(len(training)):
        for key, finding in index.look_up(training[position]):
            known = best.get(key)
            if known is None or _rank(finding) > _rank(known):
                best[key] = finding
    return [
        Report(
            name,
            len(source),
            tuple(best[name, n] for n in range(len(source)) if (name, n) in best),
        )
        for name, source in benchmarks.items()
    ]


def _rank(finding: Finding) -> tuple:
    return finding.equal, finding.overlap, finding.same_answer


class Index:
    """The texts and word n-grams of benchmarks, and whose they are."""

    def __init__(self, benchmarks: dict[str, Source], words: int):
        self.words = words
        self.problems, self.sizes = {}, {}
        self.whole = collections.defaultdict(list)
        self.grams = collections.defaultdict(list)
        for name, source in benchmarks.items():
            for number in range(len(source)):
                key, problem = (name, number), source[number]
                spelled = _spelled(problem)
                grams = _grams(spelled, words)
                self.problems[key], self.sizes[key] = problem, len(grams)
                self.whole["".join(spelled)].append(key)
                for gram in grams:
                    self.grams[gram].append(key)

    def look_up(self, training: Problem):
        """Yields (key, `Finding`) of every benchmark problem a question is like."""
        spelled = _spelled(training)
        equal = set(self.whole.get("".join(spelled), ()))
        shared = collections.Counter(
            key
            for gram in _grams(spelled, self.words)
            for key in self.grams.get(gram, ())
        )
        for key in equal | shared.keys():
            overlap = shared[key] / self.sizes[key] if self.sizes[key] else 0.0
            if key in equal or overlap >= SHARE:
                problem = self.problems[key]
                same = _plain(problem.answer) == _plain(training.answer)
                yield key, Finding(problem.id, training.id, key in equal, overlap, same)


def _spelled(problem: Problem) -> list[str]:
    """Returns the words and numbers of a question, names of commands included."""
    return _WORD.findall(problem.question.casefold())


def _grams(spelled: list[str], words: int) -> set[tuple[str, ...]]:
    return {tuple(spelled[i : i + words]) for i in range(len(spelled) - words + 1)}


def _plain(answer: str) -> str:
    """Returns an answer without what does not change its meaning."""
    answer = answer.replace("{,}", "").replace("\\dfrac", "\\frac")
    return re.sub(r"\\[!,;]|[\s$,]", "", answer)
