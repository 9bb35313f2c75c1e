"""Every tokenizer gives back the text it accepted and survives what a policy draws."""

import dataclasses
import json

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

from maspo_jax.data.prompts import (
    ByteTokenizer,
    ChatTemplate,
    FileTokenizer,
    PieceTokenizer,
    templates,
)
from maspo_jax.data.prompts.render import prompt_tokens
from maspo_jax.data.sources import Fitting, Problem, arithmetic

CORPUS = ("A box holds 17 red pens and 25 blue pens.", "So $x = \\boxed{42}$.\n", "<u>")


@pytest.fixture(scope="session")
def bpe(tmp_path_factory):
    """Returns the folder of a small checkpoint, without its configuration."""
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>", "<bos>", "<User>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # As checkpoints have it: the library's default is to add a begin token.
    begin = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[begin]
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def build(kind, bpe):
    return {
        "chains": arithmetic.tokenizer(),
        "pieces": PieceTokenizer(("a", "ab", "abc", "b", "c", " ")),
        "bytes": ByteTokenizer(),
        "file": FileTokenizer(str(bpe), "<eos>", "<pad>"),
    }[kind]


KINDS = ("chains", "pieces", "bytes", "file")
TEXTS = {
    "chains": ("", "3+8-2=?", "3+8=11. \\boxed{11}", "Tom has 7 apples, x/y*z.\n"),
    "pieces": ("", "abcab", "aabbcc ab", "cab"),
    "bytes": ("", "3+8=?", "日本語 \u2028 é \x00", "<pad>"),
    "file": ("", "3+8=?", "日本語 \u2028 é", " leading", "a <User> turn", "<bos>x"),
}
every_text = pytest.mark.parametrize(
    "kind, text", [(kind, text) for kind in KINDS for text in TEXTS[kind]]
)
every_tokenizer = pytest.mark.parametrize("kind", KINDS)


@every_text
def test_decoding_inverts_encoding(kind, text, bpe):
    tokenizer = build(kind, bpe)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@every_tokenizer
def test_a_batch_is_decoded_as_each_row_is(kind, bpe):
    tokenizer = build(kind, bpe)
    rows = [tokenizer.encode(text) for text in TEXTS[kind]]
    rows += [[*rows[-1], tokenizer.eos_token_id, tokenizer.pad_token_id], []]
    beyond = [] if kind == "bytes" else [tokenizer.size, tokenizer.size + 3]
    rows += [[*rows[1], *beyond, *rows[-3]], beyond[:1], beyond[1:]]
    assert tokenizer.decode_batch(rows) == [tokenizer.decode(row) for row in rows]
    assert tokenizer.decode_batch([]) == []


@every_text
def test_encoding_adds_no_special_token_and_stays_in_range(kind, text, bpe):
    tokenizer = build(kind, bpe)
    tokens = tokenizer.encode(text)
    assert all(isinstance(t, int) and 0 <= t < tokenizer.size for t in tokens)
    assert not {tokenizer.pad_token_id, tokenizer.eos_token_id} & set(tokens)
    assert bool(tokens) == bool(text)


@every_text
def test_decoding_drops_pad_and_end_anywhere(kind, text, bpe):
    tokenizer = build(kind, bpe)
    tokens = tokenizer.encode(text)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    padded = np.array([pad, *tokens[:1], end, *tokens[1:], end, pad, pad], np.int32)
    assert tokenizer.decode(padded) == text


@every_tokenizer
def test_pad_and_end_are_tokens_of_their_own(kind, bpe):
    tokenizer = build(kind, bpe)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert {tokenizer.pad_token_id, *tokenizer.eos_tokens} <= set(range(tokenizer.size))
    assert tokenizer.eos_tokens[0] == tokenizer.eos_token_id
    assert len(set(tokenizer.eos_tokens)) == len(tokenizer.eos_tokens)


@every_tokenizer
def test_decoding_never_fails_on_what_a_policy_draws(kind, bpe):
    tokenizer = build(kind, bpe)
    rows = tokenizer.size + 8  # embeddings are often padded to a round number
    for seed in range(30):
        drawn = np.random.default_rng(seed).integers(0, rows, 40)
        assert isinstance(tokenizer.decode(drawn), str)
    unknown = [*tokenizer.encode("a"), tokenizer.size, *tokenizer.encode("b")]
    assert tokenizer.decode(unknown) == "a\N{REPLACEMENT CHARACTER}b"


@every_tokenizer
def test_an_experiment_can_hold_it(kind, bpe):
    tokenizer = build(kind, bpe)
    tokenizer.encode("a")  # tables built on the way are no part of the definition
    assert tokenizer == build(kind, bpe) and hash(tokenizer) == hash(build(kind, bpe))
    fields = json.loads(json.dumps(dataclasses.asdict(tokenizer)))
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    assert type(tokenizer)(**fields) == tokenizer


@settings(deadline=None)
@given(st.text())
def test_bytes_write_any_text(text):
    assert ByteTokenizer().decode(ByteTokenizer().encode(text)) == text


@settings(deadline=None)
@given(st.lists(st.integers(0, 300)))
def test_bytes_decode_any_tokens(tokens):
    assert isinstance(ByteTokenizer().decode(tokens), str)


def test_the_longest_piece_wins():
    tokenizer = PieceTokenizer(("a", "ab", "abc", "b", "c"))
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("abcabba")]
    assert pieces == ["abc", "ab", "b", "a"]


def test_text_that_pieces_cannot_write_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"'é' at position 2 .*ByteTokenizer"):
        PieceTokenizer(("a", "b")).encode("abé")


@pytest.mark.parametrize("pieces", [(), ("a", ""), ("a", "b", "a")])
def test_pieces_must_be_distinct_and_not_empty(pieces):
    with pytest.raises(ValueError, match="pieces"):
        PieceTokenizer(pieces)


def configure(bpe, folder, **config):
    folder.joinpath("tokenizer.json").write_bytes(
        bpe.joinpath("tokenizer.json").read_bytes()
    )
    folder.joinpath("tokenizer_config.json").write_text(json.dumps(config))
    return FileTokenizer(str(folder))


def test_special_tokens_are_found_beside_the_file(bpe, tmp_path):
    found = configure(bpe, tmp_path, eos_token={"content": "<eos>"}, pad_token="<pad>")
    named = build("file", bpe)
    assert (found.eos_token_id, found.pad_token_id) == (
        named.eos_token_id,
        named.pad_token_id,
    )


def generating(folder, ends):
    config = {"eos_token_id": ends}
    folder.joinpath("generation_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "configured, generated, ends",
    [
        ("<eos>", None, [1]),
        ("<eos>", 1, [1]),
        ("<eos>", [1, 2], [1, 2]),
        ("<User>", [1, 2], [3, 1, 2]),
        ("<User>", [2, 3], [3, 2]),
        (None, 2, [2]),
        (None, [2, 1, 2], [2, 1]),
    ],
)
def test_a_response_ends_as_the_generation_config_says(
    bpe, tmp_path, configured, generated, ends
):
    tokenizer = configure(bpe, tmp_path, eos_token=configured, pad_token="<pad>")
    generating(tmp_path, generated)
    assert list(tokenizer.eos_tokens) == ends
    assert tokenizer.eos_token_id == ends[0] and tokenizer.pad_token_id == 0
    text = tokenizer.encode("a")
    for end in ends:
        assert tokenizer.decode([*text, end, *text, 0]) == "aa"


@pytest.mark.parametrize("ends", [-1, 10**6, "<eos>", [1, None], 1.0, True])
def test_an_end_that_is_no_token_is_refused(bpe, tmp_path, ends):
    tokenizer = configure(bpe, tmp_path, eos_token="<eos>")
    generating(tmp_path, ends)
    with pytest.raises(ValueError, match=r"eos_token_id=.*generation_config\.json"):
        _ = tokenizer.eos_tokens


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content, message", [("{", "is not JSON"), ("[1]", "no JSON")])
def test_a_damaged_configuration_is_named(bpe, tmp_path, name, content, message):
    tokenizer = configure(bpe, tmp_path, eos_token="<eos>")
    tmp_path.joinpath(name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} {message}|{name} holds {message}"):
        _ = tokenizer.eos_tokens


def test_a_pad_token_that_is_given_counts_before_that_of_the_file(bpe, tmp_path):
    found = configure(bpe, tmp_path, eos_token="<eos>", pad_token="<pad>")
    named = FileTokenizer(found.path, "<bos>", "<User>")
    names = [named.decode([token]) for token in (found.eos_token_id, 0)]
    assert names == ["<eos>", "<pad>"]  # which end and pad nothing here
    assert named.decode([named.eos_token_id, named.pad_token_id]) == ""
    assert named.pad_token_id == named.encode("<User>")[0]


def test_a_revision_of_files_that_are_here_is_refused(bpe):
    for path in (bpe, bpe / "tokenizer.json"):
        assert FileTokenizer(str(path), "<eos>").size > 256
        with pytest.raises(ValueError, match="revision='abc': .* is a f.* here and"):
            _ = FileTokenizer(str(path), "<eos>", revision="abc").size
    for read in ("exists", "text", "digests"):
        with pytest.raises(ValueError, match="revision='abc': .* is a folder here"):
            getattr(ChatTemplate(str(bpe), revision="abc"), read)


def test_without_a_pad_token_the_end_token_pads(bpe, tmp_path):
    tokenizer = configure(bpe, tmp_path, eos_token="<eos>", pad_token=None)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_a_name_given_wins_over_the_configuration(bpe, tmp_path):
    configure(bpe, tmp_path, eos_token="<eos>")
    chosen = FileTokenizer(str(tmp_path / "tokenizer.json"), eos_token="<User>")
    assert chosen.decode([chosen.eos_token_id, *chosen.encode("a")]) == "a"
    assert chosen.eos_token_id != build("file", bpe).eos_token_id


@pytest.mark.parametrize(
    "config", [{}, {"eos_token": None}, {"eos_token": "<gone>"}, {"pad_token": "<pad>"}]
)
def test_an_end_token_not_found_is_refused_with_the_names(bpe, tmp_path, config):
    tokenizer = configure(bpe, tmp_path, **config)
    with pytest.raises(ValueError, match="eos_token=.*special tokens: <pad>, <eos>"):
        _ = tokenizer.eos_token_id


def test_a_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone.*tokenizer\.json"):
        FileTokenizer(str(tmp_path / "gone")).encode("a")
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        FileTokenizer(str(tmp_path)).encode("a")


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="is no tokenizer"):
        FileTokenizer(str(tmp_path)).encode("a")


@pytest.mark.parametrize("begin", ["<s>", None])
@pytest.mark.parametrize("chat", [False, True])
def test_a_plain_prompt_begins_as_in_the_library(tmp_path, begin, chat):
    """And that of a chat template, which writes the token itself, with one alone."""
    transformers = pytest.importorskip("transformers", reason="an oracle")
    vocabulary = {"<s>": 0, "</s>": 1, "a": 2, "b": 3}
    words = library.Tokenizer(library.models.WordLevel(vocabulary, "a"))
    words.pre_tokenizer = library.pre_tokenizers.Whitespace()
    words.add_special_tokens(["<s>", "</s>"])
    if begin:
        words.post_processor = library.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>"
    )
    fast.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    fast.save_pretrained(tmp_path)
    style = templates.Template("own", before="b ")
    template = ChatTemplate(str(tmp_path), style) if chat else style
    problem = Problem("1", "a", "b")
    tokenizer = FileTokenizer(str(tmp_path))
    got = prompt_tokens(problem, template, tokenizer)
    assert got == ([0, 3, 2] if chat else fast("b a")["input_ids"])
    assert got == [0, 3, 2][not (begin or chat) :]
    assert len(Fitting([problem], template, tokenizer, len(got))) == 1
    with pytest.raises(ValueError, match=f"the shortest has {len(got)} tokens"):
        len(Fitting([problem], template, tokenizer, len(got) - 1))


SAVED = {
    "truncated": lambda words: words.enable_truncation(3),
    "truncated from the left": lambda words: words.enable_truncation(
        3, direction="left"
    ),
    "truncated to the begin token": lambda words: words.enable_truncation(1),
    "padded": lambda words: words.enable_padding(length=64),
    "padded from the left": lambda words: words.enable_padding(
        length=64, direction="left"
    ),
    "padded to a multiple": lambda words: words.enable_padding(pad_to_multiple_of=8),
    "both": lambda words: (
        words.enable_truncation(3),
        words.enable_padding(length=3),
    ),
}


@pytest.mark.parametrize("saved", SAVED)
def test_what_was_saved_of_another_use_is_off(bpe, tmp_path, saved):
    """As in `transformers`: a text has its own tokens, all of them, and no others."""
    kept = library.Tokenizer.from_file(str(bpe / "tokenizer.json"))
    SAVED[saved](kept)
    kept.save(str(tmp_path / "tokenizer.json"))
    configured = {"eos_token": "<eos>", "pad_token": "<pad>", "bos_token": "<bos>"}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(configured | {"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    tokenizer, own = FileTokenizer(str(tmp_path)), build("file", bpe)
    for text in (*CORPUS, "3", ""):
        assert tokenizer.encode(text) == own.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.bos_tokens == own.bos_tokens == (2,)
    transformers = pytest.importorskip("transformers", reason="an oracle")
    oracle = transformers.PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    for text in CORPUS:
        assert tokenizer.encode(text) == oracle.encode(text, add_special_tokens=False)


def test_a_pointer_of_git_lfs_is_no_tokenizer(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (tmp_path / "tokenizer.json").write_text(pointer)
    with pytest.raises(ValueError, match="tokenizer.json is a pointer of Git LFS"):
        FileTokenizer(str(tmp_path)).encode("a")
