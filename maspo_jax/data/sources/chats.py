"""Chats as rows hold them: who speaks, and what is said.

    {"role": "user", "content": ...}   as OpenAI writes a turn
    {"from": "human", "value": ...}    as ShareGPT does

A turn of an assistant in Open-Reasoner-Zero has its answer apart, as `ground_truth`.
"""

import json
from typing import Any

_ROLE, _SAID = ("role", "from"), ("content", "value")
USERS, ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model")
# Columns of whole chats: what an assistant says last in them is an answer.
CONVERSATIONS = ("messages", "conversations")


def said(value: Any, field: str, roles: tuple[str, ...] = ASSISTANTS) -> list:
    """Returns what some speakers say in a chat, or JSON text of one.

    Raises:
        ValueError: it is no chat, has not one turn of a user, or has one of an
            assistant before it.
    """
    chat = _decoded(value)
    if not isinstance(chat, list):
        raise ValueError(f"`{field}` is not a chat")
    turns = [turn for turn in chat if isinstance(turn, dict)]
    if chat and not turns:
        raise ValueError(
            f"`{field}` is a list of {len(chat)} values, neither a question nor a "
            "chat: a file has one object per row, not columns in lists"
        )
    users = [turn for turn in turns if _of(turn, _ROLE) in USERS]
    if len(users) != 1:
        raise ValueError(f"`{field}` has {len(users)} user turns instead of one")
    for turn in turns[: turns.index(users[0])]:
        if _of(turn, _ROLE) in ASSISTANTS and _of(turn, _SAID):
            raise ValueError(
                f"`{field}` has an assistant turn ({str(_of(turn, _SAID))[:40]!r}) "
                "before the question, which no prompt would show: remove it"
            )
    found = users if roles == USERS else turns
    return [_content(turn, field) for turn in found if _of(turn, _ROLE) in roles]


def check_prompt(value: Any, field: str) -> None:
    """Refuses a prompt that is a chat, or JSON text of one, with a response begun.

    No template of this package would show what an assistant already says in it, and
    its policies write whole responses.

    Raises:
        ValueError: the message names what was said.
    """
    chat = _decoded(value)
    turns = [t for t in chat if isinstance(t, dict)] if isinstance(chat, list) else []
    if field in CONVERSATIONS or not turns:
        return
    begun = _of(turns[-1], _SAID)
    if begun and _of(turns[-1], _ROLE) in ASSISTANTS:
        raise ValueError(
            f"`{field}` ends in an assistant turn ({str(begun)[:40]!r}), a response "
            "that is begun and would not be shown: remove that turn, or name the "
            "column `messages` if it is a whole chat"
        )


def _decoded(value: Any) -> Any:
    """Returns what JSON text stands for, and any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def roles_left_out(value: Any) -> set[str]:
    """Returns who speaks in a chat, or JSON text of one, beside its user."""
    chat = _decoded(value)
    if not is_chat(chat):
        return set()
    spoken = [turn for turn in chat if _of(turn, _SAID) or "ground_truth" in turn]
    return {str(_of(turn, _ROLE)) for turn in spoken} - set(USERS)


def is_chat(value: Any) -> bool:
    """Returns whether a value is a list of turns, one of them of a user."""
    if not isinstance(value, list) or not all(isinstance(t, dict) for t in value):
        return False
    speaks = [turn for turn in value if turn.keys() & {*_SAID, "ground_truth"}]
    roles = [_of(turn, _ROLE) for turn in speaks]
    return len(speaks) == len(value) and any(role in USERS for role in roles)


def _of(turn: dict, names: tuple[str, ...]) -> Any:
    return next((turn[name] for name in names if turn.get(name) is not None), None)


def _content(turn: dict, field: str) -> Any:
    """Returns what a turn says: its answer where it has one apart, else its content."""
    gold = turn.get("ground_truth")
    gold = gold.get("value") if isinstance(gold, dict) else gold
    if gold is not None and _of(turn, _ROLE) not in USERS:
        return gold
    content = _of(turn, _SAID)
    if not isinstance(content, list):
        return content
    parts = [part if isinstance(part, dict) else {} for part in content]
    if len(parts) != 1 or parts[0].get("type") != "text":
        kinds = ", ".join(str(part.get("type")) for part in parts)
        raise ValueError(f"`{field}` has a turn of parts ({kinds}) instead of one text")
    return parts[0].get("text")
