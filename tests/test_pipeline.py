"""Batches are whole, in a fixed order, and continue where they were saved."""

import collections
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading

import chex
import numpy as np
import pytest

from maspo_jax.data import arithmetic, pipeline, templates
from maspo_jax.data.arithmetic import Chains
from maspo_jax.data.problems import Problem, ProblemFile
from maspo_jax.data.tokenizer import ByteTokenizer, FileTokenizer, PieceTokenizer

GSM8K = pathlib.Path(__file__).parents[1] / "../shared/data/gsm8k/train.jsonl.gz"
needs_shared = pytest.mark.skipif(
    not GSM8K.is_file(), reason="needs GSM8K in ../shared/data"
)

SOURCE = Chains(size=10)
TOKENIZER = arithmetic.tokenizer()
L, T = 16, 50


def ask(source=SOURCE, template=templates.PLAIN, tokenizer=TOKENIZER, **changes):
    sizes = {"batch": 4, "length": L, "seed": 0} | changes
    return pipeline.prompts(source, template, tokenizer, **sizes)


def demonstrate(
    source=SOURCE, template=templates.PLAIN, tokenizer=TOKENIZER, **changes
):
    sizes = {"batch": 4, "prompt_length": L, "response_length": T, "seed": 0} | changes
    return pipeline.demonstrations(source, template, tokenizer, **sizes)


both = pytest.mark.parametrize("stream", [ask, demonstrate])


def take(iterator, count):
    """Returns the next batches as plain values that compare equal or do not."""
    return list(itertools.islice(iterator, count))


def identifiers(dataset, batches):
    return [p.id for problems, _ in take(iter(dataset), batches) for p in problems]


def test_prompts_are_left_padded_and_say_what_their_problems_ask():
    template = templates.Template("sum", before="Sum ", after=" ")
    for problems, prompts in take(iter(ask(template=template, length=20)), 5):
        chex.assert_shape([prompts.tokens, prompts.mask], (4, 20))
        assert (prompts.tokens.dtype, prompts.mask.dtype) == (np.int32, bool)
        for problem, tokens, mask in zip(
            problems, prompts.tokens, prompts.mask, strict=True
        ):
            assert not np.any(np.diff(mask) & mask[:-1])  # never ends once begun
            assert mask[-1]
            assert np.all(tokens[~mask] == TOKENIZER.pad)
            assert list(tokens[mask]) == TOKENIZER.encode(f"Sum {problem.question} ")


def test_demonstrations_are_right_padded_solutions_with_their_end():
    by_question = {problem.question: problem for problem in SOURCE}
    for batch in take(iter(demonstrate()), 5):
        chex.assert_shape([batch.prompt, batch.prompt_mask], (4, L))
        chex.assert_shape([batch.response, batch.mask], (4, T))
        assert (batch.response.dtype, batch.mask.dtype) == (np.int32, bool)
        for n in range(4):
            question = TOKENIZER.decode(batch.prompt[n][batch.prompt_mask[n]])
            solution = TOKENIZER.encode(by_question[question].solution)
            size = len(solution) + 1
            assert list(batch.response[n][:size]) == [*solution, TOKENIZER.end]
            assert np.all(batch.response[n][size:] == TOKENIZER.pad)
            assert list(batch.mask[n]) == [True] * size + [False] * (T - size)


def test_a_masked_position_is_told_from_the_end_token_that_pads():
    class EndPads(PieceTokenizer):
        pad = PieceTokenizer.end

    tokenizer = EndPads(TOKENIZER.pieces)
    batch = next(iter(demonstrate(tokenizer=tokenizer)))
    ends = np.take_along_axis(batch.response, batch.mask.sum(1)[:, None] - 1, 1)
    assert np.all(ends == tokenizer.end)


@pytest.mark.parametrize("batch", [1, 3, 4, 10, 25])
def test_every_epoch_has_every_problem_once_in_a_new_order(batch):
    # 150 problems are 15 epochs of 10; a batch may cross their edges.
    drawn = identifiers(ask(batch=batch), -(-150 // batch))[:150]
    epochs = [tuple(drawn[i : i + 10]) for i in range(0, 150, 10)]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert len(set(epochs)) == 15
    assert set(collections.Counter(drawn).values()) == {15}


def test_the_order_depends_on_the_seed_alone():
    assert identifiers(ask(), 9) == identifiers(ask(), 9)
    assert identifiers(ask(), 9) != identifiers(ask(seed=1), 9)
    # The batch size cuts the order elsewhere, it does not change it.
    assert identifiers(ask(batch=3), 8) == identifiers(ask(batch=4), 6)


@both
@pytest.mark.parametrize("position", [0, 1, 7])
def test_a_restored_iterator_continues_bit_equal(stream, position):
    whole = iter(stream())
    take(whole, position)
    state = json.loads(json.dumps(whole.get_state()))
    rest = take(whole, 8)

    restored = iter(stream())
    restored.set_state(state)
    chex.assert_trees_all_equal(take(restored, 8), rest)

    used = iter(stream())  # one that has already read ahead, elsewhere
    take(used, 3)
    used.set_state(state)
    chex.assert_trees_all_equal(take(used, 8), rest)


RESTORE = """
import json, sys
from maspo_jax.data import arithmetic, pipeline, templates
iterator = iter(pipeline.prompts(
    arithmetic.Chains(size=10), templates.PLAIN, arithmetic.tokenizer(),
    batch=4, length=16, seed=0,
))
iterator.set_state(json.loads(sys.argv[1]))
for _ in range(5):
    problems, prompts = next(iterator)
    print(json.dumps([[p.id for p in problems], prompts.tokens.tolist()]))
"""


def test_a_new_process_continues_bit_equal_and_leaves_nothing_behind():
    iterator = iter(ask())
    take(iterator, 6)
    state = json.dumps(iterator.get_state())
    rest = [
        [[p.id for p in problems], prompts.tokens.tolist()]
        for problems, prompts in take(iterator, 5)
    ]
    # Salted hashes would differ between the two processes.
    env = os.environ | {"PYTHONHASHSEED": "123", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", RESTORE, state]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == rest


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("stopped", [0, 1, 4, 9])
def test_another_number_of_hosts_reads_the_same_stream(hosts, stopped):
    whole = iter(ask())  # of a run on one host
    take(whole, stopped)
    state = json.dumps(whole.get_state())
    expected = take(whole, 6)
    parts = []
    for host in range(hosts):  # each restores the same position, and slices
        restored = iter(ask())
        restored.set_state(json.loads(state))
        rows = slice(host * 4 // hosts, (host + 1) * 4 // hosts)
        parts.append(
            [
                ([p.id for p in problems[rows]], prompts.tokens[rows])
                for problems, prompts in take(restored, 6)
            ]
        )
    for number, (problems, prompts) in enumerate(expected):
        ids = [id for part in parts for id in part[number][0]]
        assert ids == [problem.id for problem in problems]
        rows = np.concatenate([part[number][1] for part in parts])
        chex.assert_trees_all_equal(rows, prompts.tokens)


def test_few_threads_read_ahead():
    before = threading.active_count()
    iterator = iter(ask())
    take(iterator, 3)
    assert threading.active_count() - before <= 1


@both
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(stream, seed):
    with pytest.raises(ValueError, match=f"seed={seed}"):
        stream(seed=seed)


@both
def test_the_largest_seed_works(stream):
    next(iter(stream(seed=2**32 - 1)))


@both
@pytest.mark.parametrize("batch", [0, -4])
def test_a_batch_of_nothing_is_refused(stream, batch):
    with pytest.raises(ValueError, match=f"batch={batch}"):
        stream(batch=batch)


@both
def test_an_empty_source_is_refused(stream):
    with pytest.raises(ValueError, match="at least one problem"):
        stream(source=[])


@both
def test_bad_files_are_refused_before_the_first_batch(stream, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        stream(source=ProblemFile(str(tmp_path / "gone.jsonl")))
    with pytest.raises(FileNotFoundError, match="gone"):
        stream(tokenizer=FileTokenizer(str(tmp_path / "gone")))


GOOD = Problem("good", "1+1=?", "2", "1+1=2. \\boxed{2}")
# What is wrong with a problem, and what the error has to say besides its name.
BAD = [
    (Problem("long", "1+" * 9 + "1=?", "10", "2"), ["prompt", "21", "16", "length"]),
    (Problem("wide", "1=?", "1", "1" * 60), ["response", "61", "50", "length"]),
    (Problem("exact", "1=?", "1", "1" * 50), ["response", "51", "50", "length"]),
    (Problem("none", "1=?", "1", None), ["solution", "warm-up"]),
    (Problem("blank", "", "1", "1"), ["empty prompt"]),
    (Problem("foreign", "1é=?", "1", "1"), ["'é'", "position 1"]),
]
every_misfit = pytest.mark.parametrize("bad, words", BAD, ids=[b.id for b, _ in BAD])


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
    def check(rows=None):
        sizes = {"prompt_length": L, "response_length": T, "rows": rows}
        pipeline.check([GOOD, bad, GOOD], templates.PLAIN, TOKENIZER, **sizes)

    refuse(check, bad, words)
    check(rows=1)


def test_a_check_names_the_longest_of_all():
    source = [GOOD, *(Problem(f"n{n}", "1" * n, "1", "1") for n in (20, 40, 30))]
    with pytest.raises(ValueError, match="'n40' .* 40 tokens.*at least 40"):
        pipeline.check(source, templates.PLAIN, TOKENIZER, prompt_length=L)


def test_what_fits_exactly_passes():
    size = len(ByteTokenizer().encode(GOOD.solution)) + 1
    sizes = {"prompt_length": 5, "response_length": size}
    pipeline.check([GOOD], templates.PLAIN, ByteTokenizer(), **sizes)
    batch = next(iter(demonstrate([GOOD], tokenizer=ByteTokenizer(), **sizes)))
    assert batch.mask.all() and batch.prompt_mask.all()


def test_solutions_are_checked_only_where_they_are_used():
    none = Problem("none", "1=?", "1", None)
    pipeline.check([none], templates.PLAIN, TOKENIZER, prompt_length=L)
    next(iter(ask([none])))


def test_a_check_refuses_an_empty_source():
    with pytest.raises(ValueError, match="at least one problem"):
        pipeline.check([], templates.PLAIN, TOKENIZER, prompt_length=L)


@needs_shared
def test_real_problems_pass_as_bytes():
    source = ProblemFile(str(GSM8K))
    style, tokenizer = templates.GSM8K_HASH, ByteTokenizer()
    # The longest prompt, counted once by hand.
    pipeline.check(source, style, tokenizer, prompt_length=1058, response_length=2048)
    with pytest.raises(ValueError, match="'gsm8k-train-3331' .* 1058 tokens"):
        pipeline.check(source, style, tokenizer, prompt_length=1057)
    stream = ask(source, style, tokenizer, length=1058)
    for problems, prompts in take(iter(stream), 2):
        texts = [tokenizer.decode(row) for row in prompts.tokens]
        assert texts == [style.render(problem.question) for problem in problems]


def test_packed_rows_hold_every_solution_whole_and_resume_anywhere():
    """First fit: nothing is cut, nothing is lost, and scores are those of solutions."""
    source = arithmetic.Chains(numbers=3, direct=0.3, size=40)
    tokenizer, length, rows = arithmetic.tokenizer(), 64, 4

    def stream():
        return iter(
            pipeline.packed_demonstrations(
                source, templates.PLAIN, tokenizer, rows=rows, length=length, seed=3
            )
        )

    wanted = {
        (problem.question, problem.solution)
        for problem in map(source.__getitem__, range(40))
    }
    seen, batches, states, reader = set(), [], [], stream()
    for _ in range(12):
        batch = next(reader)
        batches.append(batch)
        states.append(reader.get_state())
        tokens = np.concatenate([batch.prompt, batch.response], axis=1)
        scored = np.concatenate([0 * batch.prompt, batch.mask], axis=1).astype(bool)
        assert tokens.shape == batch.segment.shape == (rows, length)
        assert (tokens[batch.segment == 0] == tokenizer.pad).all()
        for row in range(rows):
            for text in range(1, batch.segment[row].max() + 1):
                inside = batch.segment[row] == text
                asked = tokenizer.decode(tokens[row][inside & ~scored[row]])
                answered = tokenizer.decode(tokens[row][inside & scored[row]])
                assert (asked, answered) in wanted
                assert tokens[row][inside][-1] == tokenizer.end
                seen.add((asked, answered))
    assert seen == wanted
    assert max(batch.segment.max() for batch in batches) > 1
    for number in (0, 4, 10):
        again = stream()
        again.set_state(json.loads(json.dumps(states[number])))
        chex.assert_trees_all_equal(next(again), batches[number + 1])


def test_a_text_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="its row has .* the row length is 20"):
        pipeline.check(
            arithmetic.Chains(numbers=6),
            templates.PLAIN,
            arithmetic.tokenizer(),
            prompt_length=1,
            row_length=20,
            rows=4,
        )
