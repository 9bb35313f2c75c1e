"""The reward of a response: extraction, the fast path here, the rest in workers.

    response -> strip_reasoning -> extract -> compare, with `quick`
             -> (undecided) worker -> amend -> Verdict

Nine checks in ten and more are decided in this process within microseconds by
code that cannot run away. What is left goes to a `Service`, which is started
when the first such check turns up and not before.
"""

import collections
import functools
import threading

import numpy as np

from maspo_jax.rewards.countdown import is_no_task
from maspo_jax.rewards.declaration import (
    ANSWER_LINE,
    BOX,
    HASHES,
    as_verdict,
    faulted,
    grader,
)
from maspo_jax.rewards.extraction import extract, reference, strip_reasoning
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.meaning import equivalence, reading
from maspo_jax.rewards.verdict import UNPROVED, Verdict
from maspo_jax.rewards.workers.service import Service

_CACHED = 1 << 14
_WORKER_RULES = {
    "correct": ("correct", "proof"),
    "agreed": ("correct", "agrees to many digits"),
    "undecided": ("wrong", UNPROVED),
}


# Not remembered: a machine with less to do may decide what this one could not.
_OF_THE_MOMENT = {"error", "timeout", "undecided"}


class Verifier:
    """Scores responses against reference answers; safe to use from any thread.

    Args:
        workers: processes for the checks that the fast path leaves open.
        deadline: seconds one such check may take.
        memory: bytes of memory for all workers together.
        amend: a function of a `Verdict` and its reference answer that has the last
            word, such as that of `graders.Tolerant`. It is called in this process; a
            fault of it is a verdict of outcome `error`.
    """

    def __init__(self, workers=2, deadline=1.0, memory=1 << 30, amend=None):
        self._service = Service(workers, deadline, memory)
        self._amend = amend
        self._proved = collections.OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Ends the worker processes."""
        self._service.close()

    def score(self, responses, golds):
        """Returns float32 [n], the reward of each: 1 for a correct answer, else 0."""
        verdicts = self.grade(responses, golds)
        return np.array([verdict.reward for verdict in verdicts], np.float32)

    def grade(self, responses, golds):
        """Returns one `Verdict` per pair, in order."""
        if len(responses) != len(golds):
            raise ValueError(f"{len(responses)} responses for {len(golds)} answers")
        pending = [
            self.submit(response, gold)
            for response, gold in zip(responses, golds, strict=True)
        ]
        return [collect() for collect in pending]

    def check(self, response, gold):
        """Returns the `Verdict` on one response."""
        return self.submit(response, gold)()

    def submit(self, response, gold):
        """Starts a check and returns a function that waits for its `Verdict`.

        So responses can be handed over while others are still being sampled.
        """
        for name, text in (("response", response), ("gold", gold)):
            if not isinstance(text, str):
                raise TypeError(f"{name}={text!r}: must be text, for example '5'")
        response = strip_reasoning(response)
        verdict = quick_verdict(response, gold)
        if verdict is not None:
            verdict = self._final(verdict, gold)
            return lambda: verdict
        given, gold = gold, _reference(gold)
        answer = _extracted(response, gold).text
        with self._lock:
            future = self._proved.get((gold, answer))
            if future is None:
                future = self._service.submit(gold, answer)
                self._proved[gold, answer] = future
                if len(self._proved) > _CACHED:
                    self._proved.popitem(last=False)
        return functools.partial(self._collect, future, given, gold, answer)

    def _collect(self, future, given, gold, answer):
        outcome = future.result()
        if outcome in _OF_THE_MOMENT:
            with self._lock:
                self._proved.pop((gold, answer), None)
        outcome, rule = _WORKER_RULES.get(outcome, (outcome, "worker"))
        return self._final(Verdict(outcome, answer, rule), given)

    def _final(self, verdict, gold):
        """Returns the last word on an answer."""
        if self._amend is None:
            return verdict
        try:
            return as_verdict(self._amend(verdict, gold))
        except Exception as fault:  # a fault here must not end a run
            return faulted(verdict.answer, fault)


def quick_verdict(response, gold):
    """Returns the `Verdict` if it can be had here and now, else None."""
    gold = _reference(gold)
    try:
        found = _extracted(response, gold)
    except Exception as fault:  # a fault here must not end a run: it is counted
        return faulted(None, fault)
    if found.text is None:
        return Verdict("no_answer", None, found.rule)
    return _judged(gold, found.text)


def _extracted(response, gold):
    # Whether the reference is a list matters only where boxes could be joined.
    many = response.count("box") > 1 and _is_many(gold)
    return extract(response, many)


_reference = functools.lru_cache(maxsize=_CACHED)(reference)
_is_many = functools.lru_cache(maxsize=_CACHED)(reading.is_many)


@functools.lru_cache(maxsize=_CACHED)
def _judged(gold, answer):
    try:
        verdict, rule = equivalence.compare_texts(gold, answer, values.quick)
    except Exception as fault:  # a fault here must not end a run: it is counted
        return faulted(answer, fault)
    if verdict is None:
        return None
    outcome = "correct" if verdict else "wrong"
    label, _, _ = rule.partition(":")
    if label in ("unparsed", "no answer"):
        outcome = label.replace(" ", "_")
    return Verdict(outcome, answer, rule)


@functools.cache
def _default():
    return Verifier()


def _unchanged(verdict, gold):
    """The last word of `grade`: what the checker found."""
    del gold
    return verdict


@grader(reads=(BOX, ANSWER_LINE, HASHES), takes=is_no_task, amend=_unchanged)
def grade(response, gold):
    """Returns the `Verdict` on one response; never hangs."""
    return _default().check(response, gold)


def is_correct(response, gold):
    """Whether a response's final answer means the same as the reference."""
    return grade(response, gold).outcome == "correct"
