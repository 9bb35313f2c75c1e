"""Each response is graded against its own problem's answer, by the chosen grader."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from conftest import mesh_of
from flax import nnx

from maspo_jax import distributed
from maspo_jax.config import Grading
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.render import render_demonstrations
from maspo_jax.data.prompts.tokenizer import ByteTokenizer
from maspo_jax.data.sources import Problem, arithmetic
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.rewards import Verdict, Verifier, graders
from maspo_jax.rewards import verifier as verifiers
from maspo_jax.rewards.declaration import name_of
from maspo_jax.rewards.workers.service import Service
from maspo_jax.rollout.generate import SamplingParams
from maspo_jax.rollout.grading import (
    MEMORY,
    InProcessGrader,
    grade_responses,
    make_verifier,
    step_rewards,
)
from maspo_jax.rollout.responder import Responder, accuracy
from maspo_jax.types import Response, Sequences

TOKENIZER, BYTES = arithmetic.tokenizer(), ByteTokenizer()
THINKING = templates.Template("r1", "<｜User｜>", "<｜Assistant｜><think>\n")
FORMS = {
    templates.BOX: "So it is \\boxed{34}.",
    templates.ANSWER_LINE: "So it is.\nAnswer: 34",
    templates.HASHES: "So it is.\n#### 34",
}
# Grader -> a right answer, and the gold it is right for.
ANSWERS = {graders.countdown: ("40 - 6", '{"numbers": [6, 40], "target": 34}')}


class Recorder:
    """Stands for a verifier: notes what it is asked, and says "right" for one gold."""

    def __init__(self, right=None):
        self.right, self.asked = right, []

    def grade(self, texts, golds):
        self.asked += zip(texts, golds, strict=True)
        outcomes = ["correct" if gold == self.right else "wrong" for gold in golds]
        return [Verdict(outcome, None, "") for outcome in outcomes]


def drawn_rows(texts, tokenizer, width):
    """Returns `Sequences` of responses that end, and the length of each, in tokens."""
    rows = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts]
    mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    response = np.full(mask.shape, tokenizer.pad_token_id, np.int32)
    response[mask] = np.concatenate(rows)
    prompt = np.zeros((len(rows), 1), np.int32)
    return Sequences(prompt, np.zeros((len(rows), 1), bool), response, mask)


@pytest.mark.parametrize("before", ["", "<think>"])
def test_a_step_stands_on_the_token_that_ends_it(before):
    texts = ["3+8=11. \\boxed{11}", "7é日8", ""]
    for tokenizer in (TOKENIZER, BYTES):
        for number, text in enumerate(texts[: 1 + 2 * (tokenizer is BYTES)]):
            sequences = drawn_rows([text], tokenizer, 40)
            tokens = tokenizer.encode(text)
            ends = [len(tokenizer.decode(tokens[: n + 1])) for n in range(len(tokens))]
            for place in range(len(tokens)):
                whole = number == 0 or ends[place] > max([0, *ends[:place]])
                steps = ((len(before) + ends[place], 0.5), (len(before + text), 0.25))
                verdict = Verdict("wrong", None, "", steps=steps)
                response = Response(before + text, verdict, 0.75, len(tokens), False)
                (row,) = step_rewards(tokenizer, sequences, [response])
                assert row.sum() == 0.75 and (not whole or row[place] >= 0.5)
                assert (row[: len(tokens)] > 0).sum() <= 2 and row[
                    len(tokens) :
                ].sum() == 0


def test_without_steps_the_reward_stands_on_the_end_token():
    sequences = drawn_rows(["11", "345"], TOKENIZER, 6)
    responses = [
        Response(text, Verdict("wrong", None, "", reward), reward, 3, False)
        for text, reward in (("11", 0.5), ("345", -1.0))
    ]
    rewards = step_rewards(TOKENIZER, sequences, responses)
    assert np.argwhere(rewards).tolist() == [[0, 2], [1, 3]]
    assert rewards[0, 2] == 0.5 and rewards[1, 3] == -1.0


def test_responses_meet_their_own_answers_without_padding():
    texts = [f"{number}+1" for number in range(16)]
    rows = [TOKENIZER.encode(text) for text in texts]
    response = np.full((16, 6), TOKENIZER.encode("9")[0], np.int32)
    mask = np.zeros((16, 6), bool)
    for number, row in enumerate(rows):
        response[number, : len(row)], mask[number, : len(row)] = row, True
    sequences = distributed.shard_rows(
        Sequences(response, mask, response, mask), mesh_of(4, 2)
    )
    problems = [Problem(str(n), "?", f"gold {n}") for n in range(4)]
    verifier = Recorder()
    grade_responses(verifier, TOKENIZER, problems, sequences, TOKENIZER.eos_tokens)
    assert verifier.asked == [
        (text, f"gold {number // 4}") for number, text in enumerate(texts)
    ]


def responder(verifier, mesh, **drawn):
    """Returns a `Responder` of few tokens."""
    decoding = SamplingParams(
        length=4, eos_tokens=TOKENIZER.eos_tokens, pad=TOKENIZER.pad_token_id, **drawn
    )
    return Responder(
        template=templates.PLAIN,
        tokenizer=TOKENIZER,
        prompt_length=6,
        decoding=decoding,
        verifier=verifier,
        mesh=mesh,
        key=jax.random.key(0),
    )


@pytest.fixture(scope="module")
def small_policy():
    config = DecoderConfig(TOKENIZER.size, width=16, depth=1)
    return jax.jit(lambda: Decoder(config, nnx.Rngs(0)))()


def test_rows_that_only_fill_the_devices_do_not_count(small_policy):
    problems = [Problem(str(n), f"{n}+1=?", f"gold {n}") for n in range(3)]
    # The last problem fills the other five devices.
    asked = responder(Recorder(right="gold 2"), mesh_of(8, 1), responses=2)
    assert accuracy(asked, small_policy, problems)["accuracy"] == 1 / 3


def test_accuracy_counts_correct_answers_and_the_reward_is_another_number(small_policy):
    """A grader may give half a point to a wrong answer, and less to a right one."""

    def partial(response, gold):
        outcome = "correct" if gold == "gold 2" else "wrong"
        return Verdict(outcome, None, "", {"correct": 0.8, "wrong": 0.5}[outcome])

    problems = [Problem(str(n), f"{n}+1=?", f"gold {n}") for n in range(3)]
    asked = responder(InProcessGrader(partial), mesh_of(1, 1), responses=2)
    found = accuracy(asked, small_policy, problems)
    assert set(found) == {"accuracy", "reward", "response_length/mean"}
    assert found["accuracy"] == 1 / 3
    assert found["reward"] == pytest.approx((0.5 + 0.5 + 0.8) / 3)


@pytest.mark.parametrize("batch", [1, 2, 6, 7, 12])
def test_batches_of_any_size_measure_the_same(small_policy, batch):
    """Of 5 problems with 4 responses each: within a problem, across, and filled up."""
    problems = [Problem(str(n), f"{n}+1=?", f"gold {n}") for n in range(5)]
    whole, parts = Recorder(right="gold 3"), Recorder(right="gold 3")
    measure = lambda recorder, batch: accuracy(
        responder(recorder, mesh_of(1, 1), responses=4, temperature=2.0),
        small_policy,
        problems,
        batch,
    )
    assert measure(parts, batch) == measure(whole, 20)
    assert len(whole.asked) == 20 and len(set(whole.asked)) > 10
    assert parts.asked[:20] == whole.asked
    assert len(parts.asked) - 20 < batch


def sequences(template, *responses):
    """Returns `Sequences` of one prompt and its responses, as a sampler draws them."""
    problems = [
        Problem(str(n), "What?", "34", response) for n, response in enumerate(responses)
    ]
    drawn = render_demonstrations(problems, template, BYTES, 256, 256)
    return distributed.shard_rows(drawn, mesh_of(1, 1))


def graded(template, *responses):
    """Returns the texts that reach a grader."""
    seen = []

    def record(response, gold):
        assert gold == "34"
        seen.append(response)
        return Verdict("wrong", None, "")

    drawn = sequences(template, *responses)
    problems = [Problem("0", "What?", "34")]
    verifier = InProcessGrader(record)
    grade_responses(verifier, BYTES, problems, drawn, BYTES.eos_tokens)
    return seen


def test_a_response_is_graded_whole_but_for_its_reasoning():
    responses = ("Hm.</think> 34", "<think>Hm.</think> 34", "34", "<think> 34")
    expected = [" 34", " 34", "34", ""]
    assert graded(templates.BOXED, *responses) == expected


@pytest.mark.parametrize("after", ["<think>\n", "<think>", "<think>\n\n"])
def test_behind_an_opened_reasoning_only_what_follows_it_is_graded(after):
    template = dataclasses.replace(THINKING, after=f"<｜Assistant｜>{after}")
    responses = ("\\boxed{1} Hm.</think>\n\\boxed{34}", "\\boxed{34} and so", "")
    assert graded(template, *responses) == ["\n\\boxed{34}", "", ""]


RESPONSES = ("\\boxed{34}", "\\boxed{1}</think> \\boxed{34}", "</think>\\boxed{35}")


@pytest.mark.parametrize("template", [THINKING, templates.BOXED], ids=lambda t: t.name)
@pytest.mark.parametrize("grader", [graders.grade, graders.hendrycks], ids=name_of)
def test_the_text_of_a_response_explains_its_verdict(template, grader):
    """Whoever is given it, as it is written into files: `maspo grade` among them."""
    drawn = sequences(template, *RESPONSES)
    problems = [Problem("0", "What?", "34")]
    with make_verifier(Grading(grader)) as verifier:
        found = grade_responses(verifier, BYTES, problems, drawn, BYTES.eos_tokens)
    outcomes = [response.verdict.outcome for response in found]
    first = "no_answer" if template is THINKING else "correct"
    assert outcomes == [first, "correct", "wrong"]
    texts = [json.loads(json.dumps(response.text)) for response in found]
    assert [grader(text, "34") for text in texts] == [one.verdict for one in found]


def test_a_question_about_reasoning_opens_none():
    template = templates.Template("talk", "What does <think> mean", "?")
    assert graded(template, "\\boxed{34}") == ["\\boxed{34}"]


def test_every_prompt_opens_its_own_reasoning():
    mixed = [
        render_demonstrations(
            [Problem("0", "What?", "34", "Hm. \\boxed{34}")] * 2,
            template,
            BYTES,
            256,
            256,
        )
        for template in (THINKING, templates.BOXED)
    ]
    drawn = jax.tree.map(lambda *rows: np.concatenate(rows), *mixed)
    drawn = distributed.shard_rows(drawn, mesh_of(1, 1))
    problems = [Problem(str(n), "What?", "34") for n in range(2)]
    with Verifier() as verifier:
        found = grade_responses(verifier, BYTES, problems, drawn, BYTES.eos_tokens)
    outcomes = [response.verdict.outcome for response in found]
    assert outcomes == ["no_answer"] * 2 + ["correct"] * 2


@pytest.mark.parametrize(
    "template", [t for t in templates.ALL if t.answer], ids=lambda t: t.name
)
@pytest.mark.parametrize("grader", graders.ALL, ids=name_of)
def test_a_right_answer_is_accepted_exactly_where_the_grader_reads_its_form(
    template, grader
):
    answer, gold = ANSWERS.get(grader, ("34", "34"))
    verdict = grader(FORMS[template.answer].replace("34", answer), gold)
    reads = template.answer in grader.reads
    assert (verdict.outcome == "correct") == reads


def test_every_grader_by_name_is_listed_and_declares_what_it_reads():
    public = {
        getattr(graders, name)
        for name in vars(graders)
        if not name.startswith("_")
        and getattr(getattr(graders, name), "__module__", "") == graders.__name__
    }
    listed = {graders.Tolerant if g == graders.Tolerant() else g for g in graders.ALL}
    assert listed - {graders.grade} == public - {graders.grader_for}
    assert all(grader.reads and grader.takes for grader in graders.ALL)


def test_an_experiment_grades_with_the_grader_it_names():
    with make_verifier(Grading()) as verifier:
        assert isinstance(verifier, Verifier)
    with make_verifier(Grading(graders.gsm8k)) as verifier:
        verdicts = verifier.grade([*FORMS.values()], ["34"] * 3)
    assert [v.outcome for v in verdicts] == ["no_answer", "no_answer", "correct"]


HOSTILE = ["spin", "loop in C", "ignore signals", "take memory"]


@pytest.mark.parametrize(
    "grader, near", [(graders.grade, "wrong"), (graders.Tolerant(0.1), "correct")]
)
def test_hostile_responses_cost_no_other_its_reward(monkeypatch, grader, near):
    """Every answer is checked in a worker, and does there what it says."""
    monkeypatch.setattr(verifiers, "quick_verdict", lambda response, gold: None)
    service = functools.partial(Service, check="support.faulty_checks:judge")
    monkeypatch.setattr(verifiers, "Service", service)
    answers = [*HOSTILE, "34", "34.1", "40", *HOSTILE]
    responses = [rf"\boxed{{{answer}}}" for answer in answers]
    with make_verifier(Grading(grader, workers=4, deadline=0.3)) as verifier:
        verdicts = verifier.grade(responses, ["34"] * len(answers))
    outcomes = [verdict.outcome for verdict in verdicts]
    assert outcomes[:3] == outcomes[7:10] == ["timeout"] * 3
    assert outcomes[3] == outcomes[10] == "error"
    assert outcomes[4:7] == ["correct", near, "wrong"]
    assert outcomes.count("timeout") == 6, "of equal checks, each counts"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_has_the_same_room_however_many_there_are(monkeypatch, workers):
    """Or their number would decide verdicts."""
    monkeypatch.setattr(verifiers, "quick_verdict", lambda response, gold: None)
    service = functools.partial(Service, check="support.faulty_checks:judge")
    monkeypatch.setattr(verifiers, "Service", service)
    room = f"room of {MEMORY} bytes"
    with make_verifier(Grading(workers=workers)) as verifier:
        (verdict,) = verifier.grade([f"\\boxed{{{room}}}"], ["room"])
    assert verdict.outcome == "correct"


def test_a_tolerance_leaves_the_deadline_of_the_experiment():
    responses = [r"\boxed{\sum_{k=1}^{\infty} \frac{1}{k^4}}", r"\boxed{1.09}"]
    grading = Grading(graders.Tolerant(0.1), workers=1, deadline=0.001)
    with make_verifier(grading) as verifier:
        verdicts = verifier.grade(responses, [r"\frac{\pi^4}{90}", "1.00"])
    assert [verdict.outcome for verdict in verdicts] == ["timeout", "correct"]


def test_a_fault_of_the_last_word_is_counted_and_ends_nothing():
    def amend(verdict, gold):
        raise RecursionError(gold)

    with Verifier(amend=amend) as verifier:
        verdicts = verifier.grade(["\\boxed{34}", "34"], ["34"] * 2)
    assert [verdict.outcome for verdict in verdicts] == ["error"] * 2
    assert verdicts[0].rule == "RecursionError: 34"
