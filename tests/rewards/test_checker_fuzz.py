"""The checker on mutilated text: it never faults and never contradicts itself."""

import csv
import json
import pathlib
import random
import tracemalloc

import pytest
from conftest import SHARED
from support.deadlines import cpu_deadline

from maspo_jax.rewards import verifier
from maspo_jax.rewards.extraction import extract, reference
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import equivalence, reading
from maspo_jax.rewards.verdict import OUTCOMES

PAIRS = pathlib.Path(__file__).with_name("answer_pairs.tsv")
CASES = SHARED / "reference/checker_cases.jsonl"
PIECES = [
    r"\frac", "{", "}", "(", ")", "[", "]", r"\{", r"\}", "^", "_", "!", "%", r"\pm",
    r"\cup", r"\in", ",", "|", r"\sqrt", r"\text{", r"\begin{pmatrix}", "&", r"\\",
    r"\end{pmatrix}", "=", "<", r"\le", "1e9", "9^9", r"\infty", r"\sin", r"\log_",
    "x", "i", "0", "-", "+", "/", ":", "'", r"\overline", "½", "²", " and ", " or ",
    r"\left", r"\right", "$", "#", ".", r"\mid", r"\begin{cases}", r"\end{cases}",
    r"\binom", "{,}", r"^\circ", r"\bmod", r"\boxed{", "</think>", "answer is ",
    "\ud800", "\0",
]  # fmt: skip
QUICK, LONG = range(20), range(1_000, 1_400)
PER_SEED = 50


def corpus():
    """Returns the answers that are mutilated: our pairs, and the case file's."""
    with open(PAIRS, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row[name] for row in rows for name in ("gold", "answer")]
    if CASES.exists():
        with open(CASES, encoding="utf-8") as lines:
            cases = map(json.loads, lines)
            texts += [text for case in cases for text in (case["gold"], answer(case))]
    return sorted({text for text in texts if text and len(text) < 400})


def answer(case):
    return extract(case["response"]).text


TEXTS = corpus()


def mutilated(text, draw):
    """Returns a text with pieces cut, repeated or put in at random places."""
    for _ in range(draw.randint(1, 4)):
        place, way = draw.randint(0, len(text)), draw.random()
        head, tail = text[:place], text[place:]
        if way < 0.3:
            text = head + tail[draw.randint(1, 4) :]
        elif way < 0.7:
            text = head + draw.choice(PIECES) + tail
        elif way < 0.85:
            other = draw.choice(TEXTS)
            text = head + other[draw.randint(0, len(other)) :][:20] + tail
        else:
            text = head + tail * draw.randint(1, 3)
    return text[:1_500]


def fresh(response, gold):
    """Grades without any cache of verdicts."""
    verifier._judged.cache_clear()
    return verifier.quick_verdict(response, gold)


def check_laws(seed):
    draw = random.Random(seed)
    for _ in range(PER_SEED):
        gold = draw.choice(TEXTS)
        if draw.random() < 0.5:
            gold = mutilated(gold, draw)
        given = mutilated(draw.choice([gold, draw.choice(TEXTS)]), draw)
        first = fresh(rf"\boxed{{{given}}}", gold)
        assert first == fresh(rf"\boxed{{{given}}}", gold)
        assert first is None or first.outcome in set(OUTCOMES) - {"error"}, first
        assert fresh(given, gold) is None or fresh(given, gold).outcome != "error"
        check_identity(reference(gold))
        check_symmetry(reference(gold), given)


def check_identity(gold):
    """Whatever can be read equals itself, however it is spaced."""
    try:
        reading.read_meaning(gold)
    except Unreadable:
        return
    assert equivalence.compare_texts(gold, f" {gold} ", values.quick)[0] is True, gold


def check_symmetry(gold, given):
    """Between two values the order does not matter."""
    try:
        meanings = reading.read_meaning(gold), reading.read_meaning(given)
    except Unreadable:
        return
    if all(isinstance(meaning, values.VALUES) for meaning in meanings):
        there = equivalence.match(*meanings, values.quick)
        back = equivalence.match(*meanings[::-1], values.quick)
        assert there == back, (gold, given)


@pytest.mark.parametrize(
    "opener, closer",
    [
        ("9^{", "}"), ("30^{", "}"), ("x^{", "}"), ("(-6)^{", "}"), (r"\tan(", ")"),
        (r"\cot(", ")"), (r"\log_{x+1}(", ")"), (r"\binom{2n}{", "}"), ("x!+(", ")!"),
        (r"\frac{1}{x+", "}"), ("|x-", "|"), (r"(1\pm ", ")"), (r"\{", r"\}"),
        (r"\sum_{k=1}^{400}", ""), (r"\sum_{k=1}^{9}(", "+k)"),
        (r"\prod_{k=1}^{9}", ""), (r"\int_0^1(", "dx)"), (r"\lim_{x\to 0}", ""),
        (r"\begin{cases}", r"\end{cases}"),
    ],
)  # fmt: skip
def test_nesting_costs_the_caller_neither_time_nor_memory(opener, closer):
    for depth in (5, 15, 30, 60, 90):
        text = opener * depth + "x+99" + closer * depth
        with cpu_deadline():
            tracemalloc.start()
            try:
                fresh(rf"\boxed{{{text}}}", "x+1")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 50 << 20


@pytest.mark.parametrize("seed", QUICK)
def test_mutilated_answers(seed):
    check_laws(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", LONG)
def test_twenty_thousand_mutilated_answers(seed):
    check_laws(seed)


@pytest.mark.slow
def test_mutilated_answers_in_workers():
    draw = random.Random(0)
    pairs = [
        (mutilated(draw.choice(TEXTS), draw), draw.choice(TEXTS)) for _ in range(5_000)
    ]
    responses = [rf"\boxed{{{given}}}" for given, _ in pairs]
    golds = [gold for _, gold in pairs]
    outcomes = []
    for workers in (1, 2):
        with verifier.Verifier(workers=workers, deadline=5.0) as checker:
            outcomes.append([v.outcome for v in checker.grade(responses, golds)])
    assert outcomes[0] == outcomes[1]
    assert not {"error", "timeout"} & set(outcomes[0])
