"""Tokenizers as files: the same tokens, and the template a policy was asked in."""

import json

import pytest

from maspo_jax.data.prompts import templates, tokenizer_files
from maspo_jax.data.prompts.chat import ChatTemplate, template_of
from maspo_jax.data.prompts.tokenizer import ByteTokenizer, FileTokenizer
from maspo_jax.data.sources import arithmetic

OWN = "<{{ messages[0].content }}>"
OTHER = "({{ messages[0].content }}){% if add_generation_prompt %}é{% endif %}"


@pytest.mark.parametrize(
    "tokenizer", [arithmetic.tokenizer(), ByteTokenizer()], ids=["pieces", "bytes"]
)
def test_own_tokenizers_become_files_that_say_the_same(tokenizer, tmp_path):
    tokenizer_files.write(tokenizer, tmp_path)
    again = FileTokenizer(str(tmp_path))
    texts = ["3+8-2=?", "\\boxed{11} x = y.\n"]
    if isinstance(tokenizer, ByteTokenizer):
        texts += ["naïve  Σ\u2028 <|x|>\t\r\n", "".join(map(chr, range(512)))]
    for text in texts:
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode([*tokenizer.encode(text), tokenizer.eos_token_id]) == text
    assert again.size == tokenizer.size
    assert (again.pad_token_id, again.eos_tokens) == (
        tokenizer.pad_token_id,
        (tokenizer.eos_token_id,),
    )


def test_a_tokenizer_of_your_own_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="a object cannot be written as files"):
        tokenizer_files.write(object(), tmp_path)


@pytest.fixture(params=["chat_template.jinja", "tokenizer_config.json"])
def folder(request, tmp_path):
    """A checkpoint's tokenizer with a chat template, in one of two places."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tokenizer_files.write(ByteTokenizer(), folder)
    place(folder / request.param, OWN)
    return folder


def place(file, template):
    if file.suffix == ".json":
        template = json.dumps(json.loads(file.read_text()) | {"chat_template": OWN})
    file.write_text(template, "utf-8")


@pytest.fixture
def other(tmp_path):
    """The folder of another checkpoint, of which only the template is taken."""
    (tmp_path / "other").mkdir()
    place(tmp_path / "other" / "chat_template.jinja", OTHER)
    return str(tmp_path / "other")


def written(tokenizer, template, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    tokenizer_files.write(tokenizer, out, template)
    return out


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("copied", [True, False])
def test_a_chat_template_is_written_for_others_to_render(
    folder, other, tmp_path, own, copied
):
    transformers = pytest.importorskip("transformers", reason="an oracle")
    tokenizer = FileTokenizer(str(folder)) if copied else ByteTokenizer()
    template = ChatTemplate(str(folder) if own else other, templates.PLAIN)
    out = written(tokenizer, template, tmp_path)
    oracle = transformers.AutoTokenizer.from_pretrained(out)
    turns = [{"role": "user", "content": "Why?"}]
    prompt = oracle.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    assert prompt == template.render("Why?") == ("<Why?>" if own else "(Why?)é")
    again = template_of(str(out), templates.PLAIN)
    assert again.render("Why?") == prompt


def test_where_no_template_was_chosen_that_of_the_checkpoint_is_kept(folder, tmp_path):
    out = written(FileTokenizer(str(folder)), templates.PLAIN, tmp_path)
    assert ChatTemplate(str(out)).text == OWN
    for file in out.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()


@pytest.mark.parametrize(
    "style",
    [style for style in templates.ALL if style != templates.PLAIN],
    ids=lambda style: style.name,
)
def test_what_was_asked_in_plain_text_has_no_chat_template(folder, tmp_path, style):
    out = written(FileTokenizer(str(folder)), style, tmp_path)
    assert template_of(str(out), style) == style
    for file in out.iterdir():
        assert "chat_template" not in file.name + file.read_text("utf-8")
