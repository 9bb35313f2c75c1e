"""Chats as rows hold them: who speaks, and what is said.

    {"role": "user", "content": ...}   as OpenAI writes a turn
    {"from": "human", "value": ...}    as ShareGPT does

A turn of an assistant in Open-Reasoner-Zero has its answer apart, as `ground_truth`.
"""

import json
from typing import Any

_ROLE, _SAID = ("role", "from"), ("content", "value")
USERS, ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model")


def said(value: Any, field: str, roles: tuple[str, ...] = ASSISTANTS) -> list:
    """Returns what some speakers say in a chat, or JSON text of one.

    Raises:
        ValueError: it is no chat, or has not one turn of a user.
    """
    chat = value
    if isinstance(chat, str):
        try:
            chat = json.loads(chat)
        except ValueError:
            chat = None
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
    found = users if roles == USERS else turns
    return [_content(turn, field) for turn in found if _of(turn, _ROLE) in roles]


def roles_left_out(value: Any) -> set[str]:
    """Returns who speaks in a chat, or JSON text of one, beside its user."""
    if isinstance(value, str) and value.lstrip()[:2] == "[{":
        try:
            value = json.loads(value)
        except ValueError:
            return set()
    if not is_chat(value):
        return set()
    spoken = [turn for turn in value if _of(turn, _SAID) or "ground_truth" in turn]
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
