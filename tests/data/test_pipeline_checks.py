"""A problem that does not fit is named, before the first batch and in it."""

import pytest
from support.streams import TOKENIZER, L, T, ask, demonstrate, take

from maspo_jax.data import pipeline
from maspo_jax.data.prompts import ByteTokenizer, templates
from maspo_jax.data.prompts.chat import THOUGHT
from maspo_jax.data.sources import Problem, ProblemFile
from maspo_jax.data.sources.problem import SAMPLE_OF_UNIFORM

GOOD = Problem("good", "1+1=?", "2", "1+1=2. \\boxed{2}")
# What is wrong with a problem, and what the error has to say besides its name.
BAD = [
    (Problem("long", "1+" * 9 + "1=?", "10", "2"), ["prompt", "21", "16", "length"]),
    (Problem("wide", "1=?", "1", "1" * 60), ["response", "61", "50", "length"]),
    (Problem("exact", "1=?", "1", "1" * 50), ["response", "51", "50", "length"]),
    (Problem("none", "1=?", "1", None), ["solution", "sft"]),
    (Problem("blank", "", "1", "1"), ["empty prompt"]),
    (Problem("foreign", "1é=?", "1", "1"), ["'é'", "position 1"]),
]
every_misfit = pytest.mark.parametrize("bad, words", BAD, ids=[b.id for b, _ in BAD])


class Uniform(list):
    """A source of problems that says they are all alike."""

    uniform = True


def refuse(action, bad, words):
    with pytest.raises(ValueError) as caught:
        action()
    assert not [w for w in (repr(bad.id), *words) if w not in str(caught.value)]


@every_misfit
def test_an_item_that_does_not_fit_is_named(bad, words):
    source = [GOOD, bad, GOOD]
    refuse(lambda: take(iter(demonstrate(source)), 2), bad, words)
    if bad.id not in ("wide", "exact", "none"):
        refuse(lambda: take(iter(ask(source)), 2), bad, words)


@every_misfit
def test_a_check_finds_it_before_the_first_batch(bad, words):
    def check(source):
        sizes = {"prompt_length": L, "response_length": T}
        pipeline.check_fits(source, templates.PLAIN, TOKENIZER, **sizes)

    refuse(lambda: check([GOOD, bad, GOOD]), bad, words)
    refuse(lambda: check([*[GOOD] * SAMPLE_OF_UNIFORM, bad]), bad, words)
    refuse(lambda: check(Uniform([GOOD, bad])), bad, words)
    check(Uniform([*[GOOD] * SAMPLE_OF_UNIFORM, bad]))


def test_a_check_names_the_longest_of_all():
    source = [GOOD, *(Problem(f"n{n}", "1" * n, "1", "1") for n in (20, 40, 30))]
    with pytest.raises(ValueError, match="'n40' .* 40 tokens.*at least 40"):
        pipeline.check_fits(source, templates.PLAIN, TOKENIZER, prompt_length=L)


def test_what_fits_exactly_passes():
    size = len(ByteTokenizer().encode(GOOD.solution)) + 1
    sizes = {"prompt_length": 5, "response_length": size}
    pipeline.check_fits([GOOD], templates.PLAIN, ByteTokenizer(), **sizes)
    batch = next(iter(demonstrate([GOOD], tokenizer=ByteTokenizer(), **sizes)))
    assert batch.response_mask.all() and batch.prompt_mask.all()


def test_solutions_are_checked_only_where_they_are_used():
    none = Problem("none", "1=?", "1", None)
    pipeline.check_fits([none], templates.PLAIN, TOKENIZER, prompt_length=L)
    next(iter(ask([none])))


def test_a_check_refuses_an_empty_source():
    with pytest.raises(ValueError, match="at least one problem"):
        pipeline.check_fits([], templates.PLAIN, TOKENIZER, prompt_length=L)


def test_real_problems_pass_as_bytes(shared):
    source = ProblemFile(str(shared / "data" / "gsm8k" / "train.jsonl.gz"))
    style, tokenizer = templates.GSM8K_HASH, ByteTokenizer()
    # The longest prompt, counted once by hand.
    pipeline.check_fits(
        source, style, tokenizer, prompt_length=1058, response_length=2048
    )
    with pytest.raises(ValueError, match="'gsm8k-train-3331' .* 1058 tokens"):
        pipeline.check_fits(source, style, tokenizer, prompt_length=1057)
    stream = ask(source, style, tokenizer, length=1058)
    for problems, prompts in take(iter(stream), 2):
        texts = [tokenizer.decode(row) for row in prompts.tokens]
        assert texts == [style.render(problem.question) for problem in problems]


OPENING = templates.Template("opening", after="<think>\n")
LENGTHS = {
    "prompts": {},
    "rows": {"response_length": 60},
    "packed": {"row_length": 80},
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("template", [OPENING, templates.PLAIN], ids=lambda t: t.name)
@pytest.mark.parametrize("solution", ["1+1=2.</think> \\boxed{2}", "\\boxed{2}", None])
def test_a_solution_ends_the_reasoning_that_its_prompt_begins(
    lengths, template, solution
):
    source = [
        Problem("whole", "1+1=?", "2", "</think>2"),
        Problem("one", "1+1=?", "2", solution),
    ]
    check = lambda: pipeline.check_fits(
        source, template, ByteTokenizer(), prompt_length=40, **lengths
    )
    if not lengths or (solution and (THOUGHT in solution or template != OPENING)):
        check()
        return
    with pytest.raises(ValueError) as caught:
        check()
    asked = "no solution to learn from" if solution is None else f"has no {THOUGHT}"
    assert "problem 'one'" in str(caught.value) and asked in str(caught.value)
