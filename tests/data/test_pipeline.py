"""Batches are whole, in a fixed order, and continue where they were saved."""

import collections
import json
import os
import subprocess
import sys
import threading

import chex
import numpy as np
import pytest
from support.streams import SOURCE, TOKENIZER, L, T, ask, demonstrate, take

from maspo_jax.data.pipeline import ProblemStream
from maspo_jax.data.prompts import FileTokenizer, PieceTokenizer, templates
from maspo_jax.data.sources import ProblemFile

both = pytest.mark.parametrize("stream", [ask, demonstrate])


def identifiers(dataset, batches):
    return [p.id for problems, _ in take(iter(dataset), batches) for p in problems]


@pytest.mark.parametrize("sizes", [[4, 4, 4], [1, 3, 2, 2, 4], [3, 5, 4], [9, 3]])
def test_problems_are_taken_in_their_order_however_many_at_a_time(sizes):
    """From any position that was saved, too, through JSON."""
    expected, rows = [], []
    for problems, prompts in take(iter(ask()), 6):
        expected += [problem.id for problem in problems]
        rows += [*prompts.tokens]
    stream, found = ProblemStream(ask()), []
    for size in sizes:
        problems, prompts = stream.take(size)
        np.testing.assert_array_equal(
            prompts.tokens, rows[len(found) : len(found) + size]
        )
        found += [problem.id for problem in problems]
        state = json.loads(json.dumps(stream.get_state()))
        again = ProblemStream(ask())
        again.set_state(state)
        assert again.get_state() == state
        ahead = [problem.id for problem in again.take(7)[0]]
        assert ahead == expected[len(found) : len(found) + 7]
    assert found == expected[: len(found)] and len(found) == sum(sizes)


def test_between_batches_a_position_is_that_of_the_dataset():
    stream, dataset = ProblemStream(ask()), iter(ask())
    for _ in range(3):
        assert stream.get_state() == dataset.get_state()
        stream.take(4)
        next(dataset)


@pytest.mark.parametrize("sizes", [[4, 4], [1, 3, 2], [3, 5, 4], [9]])
def test_what_is_read_ahead_changes_neither_problems_nor_positions(sizes):
    """However often; what is saved is the position of what was taken."""
    plain, ahead = ProblemStream(ask()), ProblemStream(ask())
    ahead.prepare()
    assert ahead.get_state() == plain.get_state()
    for size in sizes:
        taken, prompts = ahead.take(size)
        ahead.prepare()
        ahead.prepare()
        expected, rows = plain.take(size)
        assert taken == expected
        np.testing.assert_array_equal(prompts.tokens, rows.tokens)
        assert ahead.get_state() == plain.get_state()
        again = ProblemStream(ask())
        again.set_state(json.loads(json.dumps(ahead.get_state())))
        again.prepare()
        assert again.take(5)[0] == _copy(plain).take(5)[0]


def _copy(stream):
    copied = ProblemStream(ask())
    copied.set_state(stream.get_state())
    return copied


def test_a_batch_that_cannot_be_read_ahead_fails_when_it_is_taken():
    class Failing:
        """The second batch cannot be read."""

        def __init__(self):
            self.read = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.read += 1
            if self.read == 2:
                raise OSError("the file is gone")
            return [*"ab"], np.zeros((2, 3))

        def get_state(self):
            return {"read": self.read}

        def set_state(self, state):
            self.read = state["read"]

    stream = ProblemStream(Failing())
    stream.take(2)
    stream.prepare()
    assert stream.get_state() == {"read": 1}
    with pytest.raises(OSError, match="the file is gone"):
        stream.take(1)


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
            assert np.all(tokens[~mask] == TOKENIZER.pad_token_id)
            assert list(tokens[mask]) == TOKENIZER.encode(f"Sum {problem.question} ")


def test_demonstrations_are_right_padded_solutions_with_their_end():
    by_question = {problem.question: problem for problem in SOURCE}
    for batch in take(iter(demonstrate()), 5):
        chex.assert_shape([batch.prompt, batch.prompt_mask], (4, L))
        chex.assert_shape([batch.response, batch.response_mask], (4, T))
        assert (batch.response.dtype, batch.response_mask.dtype) == (np.int32, bool)
        for n in range(4):
            question = TOKENIZER.decode(batch.prompt[n][batch.prompt_mask[n]])
            solution = TOKENIZER.encode(by_question[question].solution)
            size = len(solution) + 1
            assert list(batch.response[n][:size]) == [*solution, TOKENIZER.eos_token_id]
            assert np.all(batch.response[n][size:] == TOKENIZER.pad_token_id)
            assert list(batch.response_mask[n]) == [True] * size + [False] * (T - size)


def test_a_masked_position_is_told_from_the_end_token_that_pads():
    class EndPads(PieceTokenizer):
        pad_token_id = PieceTokenizer.eos_token_id

    tokenizer = EndPads(TOKENIZER.pieces)
    batch = next(iter(demonstrate(tokenizer=tokenizer)))
    ends = np.take_along_axis(
        batch.response, batch.response_mask.sum(1)[:, None] - 1, 1
    )
    assert np.all(ends == tokenizer.eos_token_id)


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
from maspo_jax.data.sources import arithmetic
from maspo_jax.data import pipeline
from maspo_jax.data.prompts import templates
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
