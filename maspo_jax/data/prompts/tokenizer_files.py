"""Tokenizers as files of a checkpoint, which every other tool opens."""

import json
import pathlib
import re
import shutil

from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.prompts.templates import PLAIN
from maspo_jax.data.prompts.tokenizer import (
    ByteTokenizer,
    FileTokenizer,
    PieceTokenizer,
)

PAD, END = "<pad>", "<end>"
CONFIG, JINJA = "tokenizer_config.json", "chat_template.jinja"
COPIED = (
    CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    JINJA,
    "vocab.json",
    "merges.txt",
)


def check(tokenizer):
    """Refuses a tokenizer that `write` cannot write."""
    known = (FileTokenizer, PieceTokenizer, ByteTokenizer)
    if not isinstance(tokenizer, known):
        raise ValueError(
            f"a {type(tokenizer).__name__} cannot be written as files of Hugging Face; "
            "use one of maspo_jax.data.tokenizer"
        )


def write(tokenizer, folder, template=PLAIN):
    """Writes `tokenizer.json` and what belongs to it; text and tokens stay the same.

    Args:
        tokenizer: one of this package; that of a checkpoint is copied.
        folder: where; it exists.
        template: how questions were asked. The text of a `ChatTemplate` is written;
            `PLAIN` keeps that of the tokenizer's folder; any other `Template` was used
            without a chat template, and none is written.
    """
    check(tokenizer)
    folder = pathlib.Path(folder)
    if isinstance(tokenizer, FileTokenizer):
        shutil.copyfile(tokenizer.file, folder / "tokenizer.json")
        for file in map(tokenizer.file.with_name, COPIED):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
    else:
        _write_own(tokenizer, folder)
    if template != PLAIN:
        _replace_template(folder, template)


def _replace_template(folder, template):
    """Leaves the chat template of a folder out, and writes another if there is one."""
    chat = isinstance(template, ChatTemplate)
    own = ChatTemplate(str(folder))
    if chat and own.exists and own.text == template.text:
        return
    (folder / JINJA).unlink(missing_ok=True)
    if (folder / CONFIG).is_file():
        settings = json.loads((folder / CONFIG).read_text("utf-8"))
        if settings.pop("chat_template", None) is not None:
            _write_json(folder / CONFIG, settings)
    if chat:
        (folder / JINJA).write_text(template.text, "utf-8")


def _write_own(tokenizer, folder):
    pieces = isinstance(tokenizer, PieceTokenizer)
    library = _of_pieces(tokenizer) if pieces else _of_bytes(tokenizer)
    library.add_special_tokens([PAD, END])
    library.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / CONFIG, settings)


def _write_json(file, values):
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _of_pieces(tokenizer):
    import tokenizers  # here, as in `tokenizer`: most runs never need it

    vocabulary = {PAD: tokenizer.pad_token_id, END: tokenizer.eos_token_id}
    vocabulary |= {piece: token for token, piece in enumerate(tokenizer.pieces, 2)}
    longest_first = sorted(tokenizer.pieces, key=len, reverse=True)
    pattern = tokenizers.Regex("|".join(map(re.escape, longest_first)))
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "isolated")
    library.decoder = tokenizers.decoders.Fuse()
    return library


def _of_bytes(tokenizer):
    import tokenizers

    # The library writes a byte as a printable character: as itself where it is one.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    vocabulary = {
        chr(byte if byte in printable else next(spare)): byte for byte in range(256)
    }
    vocabulary |= {PAD: tokenizer.pad_token_id, END: tokenizer.eos_token_id}
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    library.decoder = tokenizers.decoders.ByteLevel()
    return library
