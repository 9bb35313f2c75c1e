"""Text to tokens and back.

Every tokenizer obeys one law: `decode(encode(text)) == text` for any text it accepts.
Encoding adds nothing: `render` adds the begin token of a plain prompt and the end
token of a demonstration, and the sampler draws an end. Decoding drops pad and every
end token, and never fails on what a policy drew: a token that no text has, such as a
row that only pads the embedding, is U+FFFD.

Tokenizers are frozen dataclasses that hold their definition, not their tables, so that
an experiment can hold one and write it as JSON; tables are built on first use.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterable
from typing import Protocol

from maspo_jax import hub, storage
from maspo_jax.storage import read_json_object

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(Protocol):
    """What the package asks of a tokenizer."""

    @property
    def size(self) -> int:
        """Number of tokens; all are in [0, size)."""

    @property
    def eos_token_id(self) -> int:
        """The token that ends a demonstration."""

    @property
    def eos_tokens(self) -> tuple[int, ...]:
        """Every token that ends a response, `eos_token_id` first."""

    @property
    def bos_tokens(self) -> tuple[int, ...]:
        """The tokens before a prompt that no chat template wrote; often none."""

    @property
    def pad_token_id(self) -> int:
        """The token on masked positions; it may be the end token."""

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without any that it does not contain."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of tokens, without pad and ends."""

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """Returns the text of each row of tokens, as `decode` does."""


@dataclasses.dataclass(frozen=True)
class PieceTokenizer:
    """A few given pieces, the longest first; pad is 0, end is 1.

    Text that the pieces cannot write is refused, so nothing is lost unnoticed.
    """

    pieces: tuple[str, ...]
    pad_token_id = 0
    eos_token_id = 1
    eos_tokens = (1,)
    bos_tokens = ()

    def __post_init__(self):
        if not self.pieces or "" in self.pieces:
            raise ValueError("pieces: give at least one, none of them empty")
        twice = sorted({p for p in self.pieces if self.pieces.count(p) > 1})
        if twice:
            raise ValueError(f"pieces: {twice} are given more than once")

    @property
    def size(self) -> int:
        """Number of tokens: the pieces, pad and end."""
        return len(self.pieces) + 2

    def encode(self, text: str) -> list[int]:
        """Returns the longest matching pieces from left to right."""
        tokens, position = [], 0
        while position < len(text):
            match = self._longest.match(text, position)
            if match is None:
                raise ValueError(
                    f"no piece writes {text[position]!r} at position {position} of "
                    f"{text[:80]!r}: add it to the pieces, or use ByteTokenizer()"
                )
            tokens.append(self._token[match[0]])
            position = match.end()
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the joined pieces."""
        kept = (
            int(t) for t in tokens if t not in (self.pad_token_id, self.eos_token_id)
        )
        return "".join(self.pieces[t - 2] if t < self.size else UNKNOWN for t in kept)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """Returns the joined pieces of each row."""
        return [self.decode(row) for row in rows]

    @functools.cached_property
    def _token(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.pieces, 2)}

    @functools.cached_property
    def _longest(self) -> re.Pattern:
        # The first alternative that matches wins, so the longest are tried first.
        longest_first = sorted(self.pieces, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))


@dataclasses.dataclass(frozen=True)
class ByteTokenizer:
    """The 256 bytes of UTF-8, then pad and end: writes any text, learns none."""

    size = 258
    pad_token_id = 256
    eos_token_id = 257
    eos_tokens = (257,)
    bos_tokens = ()

    def encode(self, text: str) -> list[int]:
        """Returns the bytes of the text."""
        return list(text.encode("utf-8"))

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of the bytes, U+FFFD where they are none."""
        kept = [
            int(t) for t in tokens if t not in (self.pad_token_id, self.eos_token_id)
        ]
        # 0xFF occurs in no UTF-8 text.
        data = bytes(t if t < 256 else 0xFF for t in kept)
        return data.decode("utf-8", errors="replace")

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """Returns the text of each row."""
        return [self.decode(row) for row in rows]


@dataclasses.dataclass(frozen=True)
class FileTokenizer:
    """The tokenizer of a Hugging Face checkpoint, read without its library.

    Names of special tokens in a text become those tokens, as chat templates need.
    Text is kept exactly as far as the file's own normalizer keeps it.

    Attributes:
        path: a `tokenizer.json`, the folder of a checkpoint that has one, or its name
            on the Hugging Face hub.
        eos_token: name of the token that ends a demonstration; None takes
            `eos_token` from the `tokenizer_config.json` beside the file, or else the
            first of `eos_token_id` in `generation_config.json`. A response ends with
            it and with any of the latter.
        revision: of the hub, as that of the `Checkpoint`.
        pad_token: name of the pad token; None takes `pad_token` from there, or else
            the end token.
    """

    path: str
    eos_token: str | None = None
    pad_token: str | None = None
    revision: str | None = None

    @property
    def size(self) -> int:
        """One more than the largest token; a policy may have more rows."""
        return self._size

    @property
    def eos_token_id(self) -> int:
        """The token that ends a demonstration."""
        return self._eos_tokens[0]

    @property
    def eos_tokens(self) -> tuple[int, ...]:
        """Every token that ends a response, `eos_token_id` first."""
        return self._eos_tokens

    @property
    def pad_token_id(self) -> int:
        """The token on masked positions."""
        return self._pad

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of the text alone, no begin or end added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text, special tokens other than pad and ends included."""
        kept, text, silent = [], "", {self._pad, *self._eos_tokens}
        for token in (int(t) for t in tokens if t not in silent):
            if token < self._size:
                kept.append(token)
            else:
                text, kept = text + self._decode(kept) + UNKNOWN, []
        return text + self._decode(kept)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """Returns the text of each row, as `decode` does, on all cores at once."""
        silent, size = {self._pad, *self._eos_tokens}, self._size
        kept = [[token for token in row if token not in silent] for row in rows]
        texts = self._tokenizer.decode_batch(
            [row if max(row, default=0) < size else [] for row in kept],
            skip_special_tokens=False,
        )
        for index, row in enumerate(kept):
            if max(row, default=0) >= size:
                texts[index] = self.decode(row)
        return texts

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=False)

    @functools.cached_property
    def bos_tokens(self) -> tuple[int, ...]:
        """The tokens that the file's own post-processor puts before a text."""
        text = self.encode("a")
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        starts = range(len(whole) - len(text) + 1)
        first = next(i for i in starts if whole[i : i + len(text)] == text)
        return tuple(whole[:first])

    @functools.cached_property
    def file(self) -> pathlib.Path:
        """The `tokenizer.json`, fetched if it is on the hub."""
        path = pathlib.Path(self.path)
        if path.is_dir() or hub.is_name(self.path):
            path = hub.folder_of(self.path, self.revision) / "tokenizer.json"
        elif self.revision is not None:
            raise ValueError(
                f"revision={self.revision!r}: {path} is a file here and has none; "
                "leave it out, or give the name on the hub"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"no tokenizer at {path}: give the path of a tokenizer.json, or of "
                "a folder that holds one"
            )
        return path

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """The content of the files that decide what it does, see `runs.provenance`."""
        name = pathlib.PurePath(self.path)
        name = name.parent if name.name == self.file.name else name
        files = (self.file.name, "tokenizer_config.json", "generation_config.json")
        return storage.digest_files(name, self.file.parent, files)

    @property
    def revisions(self) -> dict[str, str]:
        """The commit it was fetched from, if it was."""
        return hub.revisions_of(self.path, self.file.parent)

    @functools.cached_property
    def _tokenizer(self):
        # Imported here: most runs of small policies never need it.
        import tokenizers

        storage.check_no_pointer(self.file)
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self.file))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(
                f"{self.file} is no tokenizer of the `tokenizers` library: {error}"
            ) from error
        # Saved with the file by whoever used them last; `transformers` sets them anew
        # at every call. Left on, prompts would be cut, or padded inside.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @functools.cached_property
    def _size(self) -> int:
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    @functools.cached_property
    def _eos_tokens(self) -> tuple[int, ...]:
        name = self.eos_token or self._configured("eos_token")
        first = () if name is None else (self._token_of(name, "eos_token"),)
        ends = (*first, *self._generation_eos_tokens())
        if not ends:
            raise ValueError(
                f"{self.file} does not say which token ends a response: "
                f"give FileTokenizer(..., eos_token=NAME). {self._names()}"
            )
        return tuple(dict.fromkeys(ends))

    @functools.cached_property
    def _pad(self) -> int:
        name = self.pad_token or self._configured("pad_token")
        return self.eos_token_id if name is None else self._token_of(name, "pad_token")

    def _generation_eos_tokens(self) -> tuple[int, ...]:
        """Returns the tokens that end what the checkpoint generates, if it says so."""
        config = self._beside("generation_config.json")
        ends = config.get("eos_token_id")
        ends = (
            () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)
        )
        for end in ends:
            if type(end) is not int or not 0 <= end < self._size:
                raise ValueError(
                    f"eos_token_id={end!r} in {self.file.parent}/generation_config."
                    f"json is no token of {self.file}, which has {self._size}: the "
                    "two are not from one checkpoint"
                )
        return ends

    def _token_of(self, name: str, field: str) -> int:
        token = self._tokenizer.token_to_id(name)
        if token is None:
            raise ValueError(
                f"{field}={name!r} is not a token of {self.file}. {self._names()}"
            )
        return token

    def _names(self) -> str:
        added = self._tokenizer.get_added_tokens_decoder().values()
        return f"Its special tokens: {', '.join(t.content for t in added) or 'none'}"

    def _configured(self, key: str) -> str | None:
        """Returns a token's name from the configuration beside the file, if any."""
        token = self._beside("tokenizer_config.json").get(key)
        # Written as a name, or as a record of a name and its options.
        return token.get("content") if isinstance(token, dict) else token

    def _beside(self, name: str) -> dict:
        """Returns what a JSON file beside this one holds, {} where there is none."""
        path = self.file.with_name(name)
        return read_json_object(path) if path.is_file() else {}
