"""Prompts in the chat template of a checkpoint.

    question --style--> user turn --chat template of the folder--> prompt

The template is a program that comes with the checkpoint. It runs in a sandbox, with
what `transformers` offers it, and renders what `transformers` renders. It writes
begin and role tokens itself, as text that `FileTokenizer` turns into those tokens;
nothing else adds a begin token, so there is never a second one.

Some templates, such as those of Llama 3, write today's date. Here it is `date`, which
a run records with its other settings: else it would ask otherwise after midnight.

The template of DeepSeek-R1 and its distillations ends a prompt in `<think>`, so that
a response begins inside the reasoning; `rollout.grading` grades what is behind it.
"""

import dataclasses
import datetime
import functools
import logging
import pathlib
from typing import Any

from maspo_jax import hub, storage
from maspo_jax.data.prompts.templates import ALL, BOXED, Template
from maspo_jax.storage import read_json_object

THINK, THOUGHT = "<think>", "</think>"  # around the reasoning of a response

_log = logging.getLogger(__name__)

# Given to a template under their own names, as text.
_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """Asks a question in one user turn of a chat.

    Attributes:
        folder: of a checkpoint, or its name on the hub, with `chat_template.jinja` or
            a `chat_template` in its `tokenizer_config.json`.
        style: the instructions around the question, within the user turn.
        system: the system turn; None leaves it to the template, which may add one.
        enable_thinking: of Qwen3; None leaves it to the template.
        revision: of the hub, as that of the `Checkpoint`.
        date: what a template that writes today's date is told, as YYYY-MM-DD. The
            default is the day that templates of Llama 3 write where they know none.
    """

    folder: str
    style: Template = BOXED
    system: str | None = None
    enable_thinking: bool | None = None
    revision: str | None = None
    date: str = "2024-07-26"
    add_bos = False  # the checkpoint's template writes what it needs

    def __post_init__(self):
        try:
            datetime.date.fromisoformat(self.date)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"date={self.date!r}: give a day as YYYY-MM-DD, such as '2024-07-26'"
            ) from error

    @property
    def answer(self) -> str | None:
        """The form of answer the style asks for, or else the system turn."""
        if self.style.answer or not self.system:
            return self.style.answer
        asked = (style.answer for style in ALL if style.answer)
        return next((form for form in asked if form in self.system), None)

    def render(self, question: str) -> str:
        """Returns the prompt for a question, up to where a response begins."""
        turns = [{"role": "user", "content": self.style.render(question)}]
        if self.system is not None:
            turns.insert(0, {"role": "system", "content": self.system})
        options = {"enable_thinking": self.enable_thinking}
        if self.enable_thinking is None:
            options = {}
        template, tokens = self._template, self._tokens  # which may refuse
        try:
            return template.render(
                messages=turns,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **tokens,
                **options,
            )
        except Exception as error:  # whatever the template itself may raise
            raise ValueError(
                f"the chat template of {self.folder} cannot render "
                f"{' and '.join(turn['role'] for turn in turns)} turns: {error}"
            ) from error

    @functools.cached_property
    def _template(self):
        # Imported here: most runs of small policies never need it.
        from maspo_jax.data.prompts import sandbox

        if "strftime_now" in self.text:
            _log.warning(
                "%s: the chat template writes today's date, which is %s at any time "
                "(ChatTemplate.date)",
                self.folder,
                self.date,
            )
        try:
            return sandbox.compiled(self.text, datetime.date.fromisoformat(self.date))
        except sandbox.jinja2.TemplateError as error:
            raise ValueError(
                f"the chat template of {self.folder} is not valid: {error}"
            ) from error

    @property
    def exists(self) -> bool:
        """Whether the checkpoint has a chat template."""
        return self._found is not None

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """The content of the files that decide what it writes."""
        files = ("chat_template.jinja", "tokenizer_config.json")
        return storage.digest_files(self.folder, self._folder, files)

    @property
    def revisions(self) -> dict[str, str]:
        """The commit it was fetched from, if it was."""
        return hub.revisions_of(self.folder, self._folder)

    @property
    def _folder(self) -> pathlib.Path:
        return hub.folder_of(self.folder, self.revision)

    @property
    def text(self) -> str:
        """The template itself, in the language of jinja2."""
        if self._found is None:
            raise ValueError(
                f"{self.folder} has no chat template, neither in chat_template.jinja "
                "nor in tokenizer_config.json: ask with a templates.Template instead"
            )
        return self._found

    @functools.cached_property
    def _found(self) -> str | None:
        own = self._folder / "chat_template.jinja"
        if own.is_file():
            return own.read_text("utf-8")
        text = named = self._config.get("chat_template")
        others = sorted((self._folder / "additional_chat_templates").glob("*.jinja"))
        names = [other.stem for other in others]
        if isinstance(named, list):  # several by name, of which one is for chats
            named = [each if isinstance(each, dict) else {} for each in named]
            if not all({"name", "template"} <= each.keys() for each in named):
                raise self._refusal(f"chat_template={text} has no names and templates")
            found = (each["template"] for each in named if each["name"] == "default")
            text = next(found, None)
            names = [str(each["name"]) for each in named] + names
        if text is None and names:
            raise ValueError(
                f"{self.folder} has the chat templates {', '.join(names)} and none "
                "named default: save the one for chats as chat_template.jinja"
            )
        if text is not None and not isinstance(text, str):
            raise self._refusal(f"chat_template={text} is no text")
        return text

    @functools.cached_property
    def _config(self) -> dict[str, Any]:
        path = self._folder / "tokenizer_config.json"
        return read_json_object(path) if path.is_file() else {}

    def _refusal(self, fault: str) -> ValueError:
        path = self._folder / "tokenizer_config.json"
        return ValueError(f"{path}: {fault}; restore it, or fetch it again")

    @functools.cached_property
    def _tokens(self) -> dict[str, str]:
        found = {}
        for name in _TOKENS:
            token = self._config.get(name)
            # Written as a text, or as a record of a text and its options.
            text = token.get("content") if isinstance(token, dict) else token
            if token is not None and not isinstance(text, str):
                raise self._refusal(f"{name}={token} is no text")
            if text is not None:
                found[name] = text
        return found


def template_of(
    folder: str, style: Template = BOXED, revision: str | None = None
) -> ChatTemplate | Template:
    """Returns the chat template of a checkpoint, or the bare style if it has none."""
    template = ChatTemplate(folder, style, revision=revision)
    return template if template.exists else style
