"""Chat templates render what `transformers` renders, and nothing escapes from them."""

import dataclasses
import gzip
import json

import pytest
import tokenizers as library

from maspo_jax.config import serialization
from maspo_jax.data.prompts import (
    ChatTemplate,
    FileTokenizer,
    template_of,
    templates,
)

# Written for these tests, after what the checkpoints are known to render: the default
# system turn of Qwen2.5, the reasoning of earlier turns and the switch of Qwen3, the
# begin token, the role tokens and the opened reasoning of the R1 distillations.
QWEN25 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. ' }}
    {{- 'You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and message.content is string %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {{- raise_exception('text only') }}
    {%- endif %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" and loop.index0 > ns.last %}
        {{- content.split('</think>')[-1].lstrip('\\n') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
R1 = (
    "{% if not add_generation_prompt is defined %}"
    "{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(system='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{% set ns.system = message['content'] %}{%- endif %}{%- endfor %}"
    "{{bos_token}}{{ns.system}}"
    "{%- for message in messages %}{%- if message['role'] == 'user' %}"
    "{{'<｜User｜>' + message['content']}}{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"
)
# What none of the three needs, but a template may use.
TOOLBOX = """\
  {# a comment on a line of its own #}
  {% for message in messages %}
  {{ {"role": message.role, "é<": [1, none]} | tojson(indent=1) }}
  {% continue %}
  {% endfor %}
{{ strftime_now("%Y") is string }} {{ eos_token }} {{ undefined_name }}
"""
# What an assistant writes, marked for masks; a variable set there stays there.
MASKED = """\
{% set kept = "outer" %}
{% for message in messages %}
    {% generation %}
    {% set kept = "inner" %}
    {{ message.role }} <b>: {{ message.content }}{{ kept }}
    {% endgeneration %}
    {{ kept }}
{% endfor %}
{% if add_generation_prompt %}
{% generation %}<｜Assistant｜>{% endgeneration %}
{% endif %}
"""
BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
ROLES = ["<｜User｜>", "<｜Assistant｜>", "<|im_start|>", "<|im_end|>", "<think>"]
KINDS = {
    "Qwen2.5": QWEN25,
    "Qwen3": QWEN3,
    "R1-Distill": R1,
    "toolbox": TOOLBOX,
    "masked": MASKED,
}
QUESTIONS = (
    "What is $1+1$?",
    "Is {{ 7 * 7 }} {% if x %} \\boxed{2} & <b> é \u2028 $Answer?",
    "  space and lines around it\n\n",
)


@pytest.fixture
def make(tmp_path):
    """Writes the folder of a checkpoint with a chat template, in one of two places."""

    def make(text, beside=True, **settings):
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(False)
        tokenizer.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(
            special_tokens=[BEGIN, END, *ROLES],
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(["What is it?"], trainer)
        # As checkpoints of DeepSeek have it: a begin token before every text.
        tokenizer.post_processor = library.processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
        )
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        written = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": {"content": BEGIN, "__type": "AddedToken"},
            "eos_token": END,
            **settings,
        }
        if beside:
            (tmp_path / "chat_template.jinja").write_text(text, "utf-8")
        else:
            written["chat_template"] = text
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(written))
        return str(tmp_path)

    return make


every_kind = pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("thinking", [None, True, False])
def test_prompts_equal_those_of_transformers(make, text, beside, system, thinking):
    transformers = pytest.importorskip("transformers", reason="needs the test oracle")
    folder = make(text, beside)
    oracle = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    chat = ChatTemplate(folder, templates.BOXED, system, thinking)
    options = {} if thinking is None else {"enable_thinking": thinking}
    for question in QUESTIONS:
        turns = [{"role": "user", "content": templates.BOXED.render(question)}]
        if system:
            turns.insert(0, {"role": "system", "content": system})
        expected = oracle.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, **options
        )
        prompt = chat.render(question)
        assert prompt == expected
        tokens = oracle.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=False, **options
        )
        assert FileTokenizer(folder).encode(prompt) == tokens


def test_what_each_checkpoint_is_asked(make):
    user = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    ask = lambda text, **options: ChatTemplate(
        make(text), templates.PLAIN, **options
    ).render("Why?")
    assert ask(QWEN25) == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
        f"assistant.<|im_end|>\n{user}"
    )
    assert ask(QWEN25, system="S") == f"<|im_start|>system\nS<|im_end|>\n{user}"
    assert ask(QWEN3) == ask(QWEN3, enable_thinking=True) == user
    assert ask(QWEN3, enable_thinking=False) == f"{user}<think>\n\n</think>\n\n"
    assert ask(R1) == f"{BEGIN}<｜User｜>Why?<｜Assistant｜><think>\n"


def test_r1_is_asked_what_real_rows_ask(make, shared):
    path = shared / "data/checker_cases/areal_r1_tails.jsonl.gz"
    chat, checked = ChatTemplate(make(R1)), 0
    for line in gzip.open(path, "rb"):
        prompt = json.loads(line)["prompt_text"]
        if prompt.endswith("<｜Assistant｜><think>\n"):
            # Some of these rows begin with a line break of their own.
            asked = chat.render(templates.strip_instructions(prompt))
            assert asked == BEGIN + prompt.removeprefix("\n")
            checked += 1
    assert checked == 96


def test_there_is_one_begin_token(make):
    folder = make(R1)
    tokens = FileTokenizer(folder).encode(ChatTemplate(folder).render("Why?"))
    begin = library.Tokenizer.from_file(f"{folder}/tokenizer.json").token_to_id(BEGIN)
    assert tokens[0] == begin and tokens.count(begin) == 1


def test_the_form_of_the_answer_is_that_of_the_style_or_of_the_system_turn():
    ask = lambda style, system=None: ChatTemplate("folder", style, system).answer
    for style in templates.ALL:
        assert ask(style) == style.answer
    boxed = "Please reason step by step, and put your final answer within \\boxed{}."
    assert ask(templates.PLAIN, boxed) == templates.BOX
    assert ask(templates.PLAIN, "Be brief.") is None
    assert ask(templates.GSM8K_HASH, boxed) == templates.HASHES


def test_an_experiment_can_hold_it(make):
    chat = ChatTemplate(make(R1), templates.DAPO, enable_thinking=False)
    chat.render("Why?")  # what is built on first use is no part of it
    again = serialization.from_json(json.loads(json.dumps(serialization.to_json(chat))))
    assert again == chat and hash(again) == hash(chat)
    assert again.render("Why?") == chat.render("Why?")


def test_of_several_templates_the_default_is_taken(make):
    named = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "{{ messages[0].content }}"},
    ]
    assert ChatTemplate(make(named, False), templates.PLAIN).render("Why?") == "Why?"


@pytest.mark.parametrize(
    "text, message",
    [
        ("{% if %}", "is not valid"),
        ("{% generation %}", "is not valid"),
        ("{{ raise_exception('user turns only') }}", "user turns only"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe|not callable"),
        ("{% include '/etc/passwd' %}", "cannot render|no loader"),
        ("{{ messages[7].content }}", "no element 7"),
    ],
)
def test_a_template_that_fails_or_reaches_out_is_refused(make, text, message):
    folder = make(text)
    with pytest.raises(ValueError, match=message) as caught:
        ChatTemplate(folder).render("Why?")
    assert folder in str(caught.value)


def test_a_folder_without_a_template_is_refused(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder .*gone"):
        ChatTemplate(str(tmp_path / "gone")).render("Why?")
    for folder in (make(None, False), str(tmp_path / "empty")):
        with pytest.raises(ValueError, match="has no chat template.*Template instead"):
            ChatTemplate(folder).render("Why?")
    (tmp_path / "empty" / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer_config.json is not JSON"):
        ChatTemplate(str(tmp_path / "empty")).render("Why?")


@pytest.mark.parametrize(
    "settings, message",
    [
        ([1], "tokenizer_config.json holds no JSON object"),
        ({"chat_template": [{"x": 1}]}, "tokenizer_config.json: chat_template=.*{'x'"),
        ({"chat_template": [[]]}, "tokenizer_config.json: chat_template"),
        ({"chat_template": {"a": 1}}, "tokenizer_config.json: chat_template"),
        (
            {"chat_template": "{{ eos_token }}", "eos_token": {"a": 1}},
            "tokenizer_config.json: eos_token={'a': 1} is no text",
        ),
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path, settings, message):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message):
        ChatTemplate(str(tmp_path)).render("Why?")


LLAMA_DATE = "{{ strftime_now('%d %b %Y') }}|{{ messages[0].content }}"


def test_a_template_is_told_the_day_of_its_settings(make, caplog):
    chat = ChatTemplate(make(LLAMA_DATE), templates.PLAIN)
    assert chat.render("Why?") == chat.render("Why?") == "26 Jul 2024|Why?"
    assert caplog.text.count("writes today's date, which is 2024-07-26 at any") == 1
    later = dataclasses.replace(chat, date="2026-02-03")
    assert later.render("Why?") == "03 Feb 2026|Why?"
    # As Llama 3 asks for the day where it has no clock: the same prompt.
    clockless = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}"
        "26 Jul 2024{% endif %}|{{ messages[0].content }}"
    )
    assert ChatTemplate(make(clockless), templates.PLAIN).render("Why?") == (
        "26 Jul 2024|Why?"
    )


def test_the_hour_is_not_known(make):
    text = "{{ strftime_now('%H:%M:%S.%f') }}"
    assert ChatTemplate(make(text)).render("Why?") == "00:00:00.000000"


def test_the_day_is_recorded_and_may_not_change(make):
    chat = ChatTemplate(make(LLAMA_DATE))
    recorded = serialization.to_json(chat)
    assert recorded["date"] == "2024-07-26"
    before = {name: item for name, item in recorded.items() if name != "date"}
    assert serialization.upgraded(before) == recorded
    other = serialization.to_json(dataclasses.replace(chat, date="2026-02-03"))
    assert serialization.differences(other, recorded) == [
        "date: '2024-07-26' in the run, '2026-02-03' here"
    ]


@pytest.mark.parametrize("date", ["today", "26 Jul 2024", "2024-13-01", "", None, 2024])
def test_a_day_that_is_none_is_refused(date):
    with pytest.raises(ValueError, match="^date=.*: give a day as YYYY-MM-DD"):
        ChatTemplate("folder", date=date)


@pytest.mark.parametrize("text", ["{{ [1, 2, 3] | random }}", "{{ lipsum() }}"])
def test_nothing_in_a_template_is_left_to_chance(make, text):
    with pytest.raises(ValueError, match="random|lipsum"):
        ChatTemplate(make(text)).render("Why?")


@pytest.mark.parametrize("asked", [lambda f: ChatTemplate(f).render("?"), template_of])
def test_templates_of_which_none_is_for_chats_are_refused(make, tmp_path, asked):
    named = [{"name": "rag", "template": "R"}, {"name": "tool_use", "template": "X"}]
    folder = make(named, False)
    with pytest.raises(ValueError, match="templates rag, tool_use and none named def"):
        asked(folder)
    beside = tmp_path / "additional_chat_templates"
    beside.mkdir()
    (beside / "vision.jinja").write_text("V")
    for text in (None, named):
        make(text, False)
        with pytest.raises(ValueError, match="vision and none named default: save"):
            asked(folder)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert template_of(folder, templates.PLAIN).render("Why?") == "Why?"


def test_a_folder_without_any_template_is_asked_in_the_bare_style(make):
    for text in (None, []):
        assert template_of(make(text, False), templates.DAPO) == templates.DAPO
