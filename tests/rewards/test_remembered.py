"""What a worker proved is remembered of one answer to one reference, and no other."""

from concurrent.futures import Future

import pytest

from maspo_jax.rewards import Verifier
from maspo_jax.rewards import verifier as verifiers


class Service:
    """Stands for the workers: an answer is right if it begins as its reference."""

    def __init__(self, *settings):
        self.asked = []

    def submit(self, gold, answer):
        self.asked.append((gold, answer))
        future = Future()
        future.set_result("correct" if answer.startswith(gold) else "wrong")
        return future

    def close(self):
        pass


def test_answers_to_one_reference_are_checked_each_by_itself(monkeypatch):
    monkeypatch.setattr(verifiers, "Service", Service)
    monkeypatch.setattr(verifiers, "quick_verdict", lambda response, gold: None)
    pairs = [("12", "1"), ("2", "1"), ("12", "12"), ("13", "12"), ("12", "1")]
    with Verifier() as verifier:
        found = verifier.grade(
            [rf"\boxed{{{answer}}}" for answer, _ in pairs], [gold for _, gold in pairs]
        )
        asked = verifier._service.asked
    outcomes = [verdict.outcome for verdict in found]
    assert outcomes == ["correct", "wrong", "correct", "wrong", "correct"]
    assert asked == [(gold, answer) for answer, gold in pairs[:4]]


@pytest.mark.parametrize("outcome", sorted(verifiers._OF_THE_MOMENT))
def test_what_the_moment_decided_is_asked_again(monkeypatch, outcome):
    monkeypatch.setattr(verifiers, "Service", Service)
    monkeypatch.setattr(verifiers, "quick_verdict", lambda response, gold: None)
    with Verifier() as verifier:
        done = Future()
        done.set_result(outcome)
        submit = verifier._service.submit
        monkeypatch.setattr(verifier._service, "submit", lambda *pair: done)
        assert verifier.check(r"\boxed{12}", "1").outcome != "correct"
        monkeypatch.setattr(verifier._service, "submit", submit)
        assert verifier.check(r"\boxed{12}", "1").outcome == "correct"
