"""The verifier as a training loop uses it: real processes, real kills."""

import concurrent.futures
import os
import pathlib
import random
import resource
import subprocess
import sys

import numpy as np
import pytest

from maspo_jax.rewards import Alarm, Verdict, Verifier, grade, is_correct
from maspo_jax.rewards import verifier as verifiers
from maspo_jax.rewards.verdict import OUTCOMES
from maspo_jax.rewards.workers.service import Service

# (gold, response, outcome); the last three need a worker.
CASES = [
    ("1/2", r"\boxed{0.5}", "correct"),
    ("4", "The answer is 4.", "correct"),
    ("x+1", r"\boxed{x+2}", "wrong"),
    ("7", "no idea", "no_answer"),
    ("7", r"\boxed{7}{8} \boxed{5|6}", "unparsed"),
    (r"\{1,2\}", r"\boxed{2} and \boxed{1}", "correct"),
    (r"\sqrt2+\sqrt5", r"\boxed{\sqrt{7+2\sqrt{10}}}", "correct"),
    (r"\sin 2x", r"\boxed{2\sin x\cos x}", "correct"),
    ("5", r"\boxed{9^{9^{9^{9}}}}", "wrong"),
]
GOLDS, RESPONSES, EXPECTED = map(list, zip(*CASES, strict=True))


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as verifier:
        yield verifier


def test_scores_are_float32_in_order(verifier):
    score = verifier.score(RESPONSES, GOLDS)
    assert score.dtype == np.float32
    np.testing.assert_array_equal(score, [outcome == "correct" for outcome in EXPECTED])


def test_every_outcome_is_told_apart(verifier):
    verdicts = verifier.grade(RESPONSES, GOLDS)
    assert [verdict.outcome for verdict in verdicts] == EXPECTED
    assert all(verdict.rule for verdict in verdicts)


def test_the_rule_names_the_proof(verifier):
    assert verifier.check(RESPONSES[6], GOLDS[6]).rule == "proof"


@pytest.mark.parametrize("seed", range(3))
def test_a_verdict_does_not_depend_on_its_batch(seed):
    order = list(range(len(CASES))) * 2
    random.Random(seed).shuffle(order)
    with Verifier(workers=1) as verifier:
        together = verifier.grade(
            [RESPONSES[n] for n in order], [GOLDS[n] for n in order]
        )
        alone = [verifier.check(RESPONSES[n], GOLDS[n]) for n in order]
    assert together == alone
    assert [verdict.outcome for verdict in alone] == [EXPECTED[n] for n in order]


def test_responses_can_be_handed_over_one_by_one(verifier):
    pending = [verifier.submit(*pair) for pair in zip(RESPONSES, GOLDS, strict=True)]
    assert [collect().outcome for collect in reversed(pending)] == EXPECTED[::-1]


def test_threads_share_a_verifier(verifier):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outcomes = pool.map(lambda _: verifier.grade(RESPONSES, GOLDS), range(8))
    assert all([v.outcome for v in verdicts] == EXPECTED for verdicts in outcomes)


def test_a_batch_must_pair_up(verifier):
    with pytest.raises(ValueError):
        verifier.score(["5"], ["5", "6"])
    assert verifier.score([], []).shape == (0,)


@pytest.fixture
def faulty(monkeypatch):
    """A verifier whose every check goes to a worker and does what the answer says."""
    monkeypatch.setattr(verifiers, "quick_verdict", lambda response, gold: None)
    with Verifier() as verifier:
        verifier._service = Service(
            2, deadline=0.5, check="support.faulty_checks:judge"
        )
        yield verifier


def test_stuck_answers_earn_nothing_and_cost_no_other_its_reward(faulty):
    stuck = ["ignore signals", "loop in C", "block in C", "spin"]
    answers = [*stuck, *map(str, range(8))]
    responses = [rf"\boxed{{{answer}}}" for answer in answers]
    verdicts = faulty.grade(responses, answers)
    assert [v.outcome for v in verdicts] == ["timeout"] * 4 + ["correct"] * 8
    assert [v.reward for v in verdicts] == [0.0] * 4 + [1.0] * 8


def test_a_check_is_made_while_other_responses_are_still_being_sampled(faulty):
    collect = faulty.submit(r"\boxed{process}", str(os.getpid()))
    (future,) = faulty._proved.values()
    assert future.result(30) == "correct"  # and nobody has asked for it yet
    stuck = faulty.submit(r"\boxed{sleep}", "sleep")
    assert faulty.submit(r"\boxed{1}", "1")().outcome == "correct"
    assert [collect().outcome, stuck().outcome] == ["correct", "timeout"]


def test_equal_checks_are_made_once(faulty):
    verdicts = faulty.grade([r"\boxed{process}"] * 50, [str(os.getpid())] * 50)
    assert {verdict.outcome for verdict in verdicts} == {"correct"}
    assert len(faulty._proved) == 1


def test_an_alarm_rings_once_for_each_outcome_that_is_too_frequent():
    fine, bad = Verdict("wrong", "6", "value"), Verdict("timeout", "7", "worker")
    alarm = Alarm()
    for verdicts, warnings in (
        ([fine] * 49 + [bad], 0),  # 2 % are tolerated
        ([fine] * 48 + [bad] * 2, 1),
        ([bad], 0),  # said once
        ([Verdict("error", "8", "worker"), bad], 1),
    ):
        outcomes = [verdict.outcome for verdict in verdicts]
        shares = {
            f"verifier/{name}": outcomes.count(name) / len(outcomes)
            for name in OUTCOMES
        }
        lines = alarm(shares, verdicts)
        assert len(lines) == warnings
    assert "50.0% of the answers ended as error, more than 0%" in lines[0]
    assert "'8': worker" in lines[0]


def test_a_fault_of_the_service_is_not_remembered():
    with Verifier(deadline=30.0) as verifier:
        collect = verifier.submit(RESPONSES[6], GOLDS[6])
        verifier.close()
        assert collect().outcome == "error"
        assert verifier.check(RESPONSES[6], GOLDS[6]).outcome == "correct"


def test_only_undecided_checks_start_a_process():
    with Verifier() as verifier:
        verifier.score(RESPONSES[:6], GOLDS[:6])
        assert verifier._service._pool is None
        verifier.score(RESPONSES, GOLDS)
        zygote = verifier._service._pool.zygote.pid
        libraries = pathlib.Path(f"/proc/{zygote}/maps").read_text()
        assert "jaxlib" not in libraries


def test_importing_loads_neither_jax_nor_sympy():
    code = "import sys, maspo_jax.rewards as r; r.is_correct('#### 5', '5'); "
    code += "print({'jax', 'sympy', 'mpmath', 'flax'} & set(sys.modules))"
    here = pathlib.Path(__file__).parents[2]
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, check=True
    )
    assert printed.stdout.decode().strip() == "set()"


def test_many_batches_leave_nothing_behind(verifier):
    def batches(count, start):
        for n in range(start, start + count):
            golds = [str(n), rf"\frac{{{n}}}{{7}}"]
            responses = [rf"\boxed{{{n}.0}}", rf"\boxed{{{2 * n}/14}}"]
            assert verifier.score(responses, golds).all()

    verifier.score(RESPONSES, GOLDS)
    batches(5_000, 0)  # fills the caches, which are bounded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    descriptors = len(os.listdir("/proc/self/fd"))
    batches(5_000, 5_000)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000  # kilobytes


def test_single_checks_need_no_verifier():
    assert is_correct(r"so \boxed{\frac{2}{4}}", r"\frac12")
    assert not is_correct(r"so \boxed{\frac{3}{4}}", r"\frac12")
    assert grade(r"\boxed{3}", "4") == Verdict("wrong", "3", "value")
    assert grade(r"\boxed{2\sin x\cos x}", r"\sin 2x").reward == 1.0


@pytest.mark.parametrize("pair", [("\\boxed{5}", 5), (None, "5"), (b"5", "5")])
def test_what_is_no_text_is_refused_by_name(pair):
    with pytest.raises(TypeError, match="must be text"):
        grade(*pair)


def test_a_timeout_is_not_remembered():
    """What this moment could not decide, the next one may."""
    pair = r"\boxed{\sum_{k=1}^{\infty} \frac{1}{k^4}}", r"\frac{\pi^4}{90}"
    with Verifier(workers=1, deadline=0.001) as verifier:
        assert verifier.check(*pair).outcome == "timeout"
        assert not verifier._proved
