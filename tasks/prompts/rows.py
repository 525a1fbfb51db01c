"""One row of someone's file becomes one prompt, or a reason why not. Pure functions.

The first of these columns that is there and not null is the prompt:

| column | value |
|---|---|
| `messages`, `conversations` | list of turns: {"role", "content"} or ShareGPT's {"from", "value"} |
| `prompt` | text, a transcript, a list of turns, or an object with a `text` (Open Assistant) |
| `chosen` | a transcript (hh-rlhf) or a list of turns (preference sets) |
| `instruction`, `question`, `input` | text |
| `turns` | list of questions, of which the first is taken (MT-Bench) |
| `text` | a transcript |

Text in `prompt`, `instruction` and `question` is followed, after a blank line, by the row's `input`
(or `context`, or the `input` of its first `instances`) where there is one. `category` is kept.
Multi-turn prompts are kept whole; what the assistant says after the last user turn is dropped.

A transcript is one as hh-rlhf writes them (Bai et al. 2022, arXiv 2204.05862). A marker counts only
at the start of a paragraph: the words "Human:" elsewhere are text.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.ids import content_id

REASONS = ("empty", "not_utf8", "malformed", "no_user_turn", "duplicate", "too_long")
UNSPECIFIED = "unspecified"
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
TURN_COLUMNS = ("messages", "conversations")
TEXT_COLUMNS = ("instruction", "question", "input")
COLUMNS = (*TURN_COLUMNS, "prompt", "chosen", *TEXT_COLUMNS, "turns", "text")
MARKER = re.compile(r"\n\n(Human|Assistant):")
SURROGATE = re.compile("[\ud800-\udfff]")
READ_COLUMNS = frozenset({*COLUMNS, "context", "instances", "category"})

Turn = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for an answer: `messages` ends in a user turn, roles alternate.

    `line` is the 1-based line (text files) or row (lists, tables) within `source`.
    """

    messages: tuple[Turn, ...]
    category: str
    source: str
    line: int

    @cached_property
    def prompt_id(self) -> str:
        """The hash of the messages: equal conversations are one prompt."""
        return content_id("prompt", list(self.messages))


@dataclass(frozen=True)
class Exclusion:
    """A row that is not used, and why: `reason` is one of REASONS, `detail` is for people."""

    source: str
    line: int
    reason: str
    detail: str


class RowError(ValueError):
    """A row cannot be a prompt; `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def to_prompt(row: Any, source: str, line: int, max_chars: int) -> Prompt:
    """The prompt in one row. Raises RowError with the reason where there is none."""
    if not isinstance(row, dict):
        raise RowError("malformed", f"a row must be an object, this is {type(row).__name__}")
    messages = tuple(_tidy(_turns(row)))
    category = row.get("category")
    category = " ".join(category.split())[:80] if isinstance(category, str) else ""
    for text in (*(turn["content"] for turn in messages), category):
        if SURROGATE.search(text):
            raise RowError("not_utf8", "bytes that are not UTF-8, or half of a surrogate pair")
        if "\0" in text:
            raise RowError("malformed", "a NUL character")
    length = sum(len(turn["content"]) for turn in messages)
    if length > max_chars:
        raise RowError("too_long", f"{length} characters, at most {max_chars} are allowed")
    return Prompt(messages, category or UNSPECIFIED, source, line)


def _turns(row: dict[str, Any]) -> list[Turn]:
    """The turns of the row's first known column, as they stand."""
    found = [column for column in COLUMNS if column in row]
    if not found:
        names = ", ".join(sorted(str(key) for key in row)[:8])
        raise RowError("malformed", f"no known column (it has: {names})")
    column = next((name for name in found if row[name] is not None), None)
    if column is None:
        raise RowError("empty", f"`{found[0]}` is null")
    value = row[column]
    if column in TURN_COLUMNS:
        return _turn_list(_parsed(value), column)
    if column == "turns":
        questions = _parsed(value)
        if not isinstance(questions, list) or not questions:
            raise RowError("malformed", "`turns` must be a list of questions")
        return [_user(_text(questions[0], column))]
    if column in TEXT_COLUMNS:
        return [_user(_with_input(_text(value, column), row, column))]
    return _text_or_turns(value, row, column)


def _text_or_turns(value: Any, row: dict[str, Any], column: str) -> list[Turn]:
    """`prompt`, `chosen` and `text`: turns, a transcript or (`prompt` only) plain text."""
    if isinstance(value, list):
        return _turn_list(value, column)
    if isinstance(value, dict) and column == "prompt":
        value = value.get("text")
    text = _text(value, column)
    if turns := transcript(text):
        return turns
    if column == "prompt":
        return [_user(_with_input(text, row, column))]
    if not text.strip():
        raise RowError("empty", f"`{column}` is empty")
    raise RowError("malformed", f"`{column}` holds no Human:/Assistant: transcript")


def transcript(text: str) -> list[Turn]:
    """The turns of a text that opens with a Human (or Assistant) turn; of any other text none."""
    text = text.replace("\r\n", "\n")
    before, *pieces = MARKER.split("\n\n" + text.lstrip())
    if before or not MARKER.search(text):
        return []
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return [{"role": ROLES[name.lower()], "content": turn} for name, turn in turns]


def _turn_list(value: Any, column: str) -> list[Turn]:
    if not isinstance(value, list):
        raise RowError("malformed", f"`{column}` must be a list of turns")
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            raise RowError("malformed", f"a turn of `{column}` must be an object")
        role = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        if not isinstance(role, str) or role not in ROLES:
            raise RowError("malformed", f"unknown role {str(role)[:40]!r} in `{column}`")
        turns.append({"role": ROLES[role], "content": _text(content, column)})
    return turns


def _tidy(turns: list[Turn]) -> list[Turn]:
    """Drop the trailing answer, refuse empty turns, join neighbours of one role by a blank line."""
    turns = [t | {"content": t["content"].replace("\r\n", "\n").strip()} for t in turns]
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not any(turn["role"] == "user" for turn in turns):
        raise RowError("no_user_turn", "there is no user turn to answer")
    merged: list[Turn] = []
    for number, turn in enumerate(turns, 1):
        if not turn["content"]:
            raise RowError("empty", f"turn {number} ({turn['role']}) is empty")
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1] = {**turn, "content": f"{merged[-1]['content']}\n\n{turn['content']}"}
        else:
            merged.append(turn)
    spoken = [turn["role"] for turn in merged]
    if "system" in spoken[1:]:
        raise RowError("malformed", "a system turn must come first")
    if next(role for role in spoken if role != "system") == "assistant":
        raise RowError("malformed", "the conversation starts with an assistant turn")
    return merged


def _with_input(text: str, row: dict[str, Any], column: str) -> str:
    """`text` and the material it speaks about, joined by a blank line."""
    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    more = (
        row.get("input") if column != "input" else None,
        row.get("context"),
        first.get("input") if isinstance(first, dict) else None,
    )
    extra = next((item for item in more if isinstance(item, str) and item.strip()), "")
    return f"{text}\n\n{extra}" if text.strip() and extra else text


def _parsed(value: Any) -> Any:
    """A list as it is; a list written as JSON text (in a CSV cell) read."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _text(value: Any, column: str) -> str:
    if value is None:
        raise RowError("empty", f"`{column}` is null")
    if not isinstance(value, str):
        raise RowError("malformed", f"`{column}` must be text, this is {type(value).__name__}")
    return value


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def is_held_out(prompt_id: str, percent: int) -> bool:
    """Whether a prompt belongs to the held-out part, about `percent` of 100 of all prompts.

    Decided by BLAKE2b of the id alone: neither the order nor the number of other prompts matters,
    and raising `percent` only adds prompts. Raises ValueError unless 0 <= percent <= 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent}: must be from 0 to 100; choose a share in that range")
    digest = hashlib.blake2b(b"held-out" + prompt_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) * 100 < percent << 64
