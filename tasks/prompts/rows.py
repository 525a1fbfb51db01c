"""One row of someone's file becomes one prompt, or a reason why not. Pure functions.

columns.py says which columns are read, turns.py what a conversation may look like; `category` is
kept. Multi-turn prompts are kept whole; what the assistant says after the last user turn is not.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.ids import content_id
from tasks.prompts.columns import conversation
from tasks.prompts.turns import RowError, Turn, tidy

REASONS = ("empty", "not_utf8", "malformed", "no_user_turn", "tools", "duplicate", "too_long")
UNSPECIFIED = "unspecified"
SURROGATE = re.compile("[\ud800-\udfff]")


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
    """A row that is not used, and why: `reason` is one of REASONS, `detail` is for people.

    rows: how many it stands for (see left_out.py).
    """

    source: str
    line: int
    reason: str
    detail: str
    rows: int = 1


def to_prompt(row: Any, source: str, line: int, max_chars: int, tools: bool = False) -> Prompt:
    """The prompt in one row. Raises RowError with the reason where there is none."""
    return prompt_in(row, source, line, max_chars, tools)[0]


def prompt_in(
    row: Any, source: str, line: int, max_chars: int, tools: bool = False
) -> tuple[Prompt, list[str]]:
    """The prompt in one row, and what stands beside it that is not used, each with the reason.

    tools: calls of tools are kept. Raises RowError with the reason where there is no prompt.
    """
    if not isinstance(row, dict):
        raise RowError("malformed", f"a row must be an object, this is {type(row).__name__}")
    turns, unused = conversation(row)
    messages = tuple(tidy(turns, tools))
    category = row.get("category")
    category = " ".join(category.split())[:80] if isinstance(category, str) else ""
    for text in (*(text for turn in messages for text in turn.values()), category):
        if SURROGATE.search(text):
            raise RowError(
                "not_utf8", "bytes that are not UTF-8 (another encoding?), or half a pair"
            )
        if "\0" in text:
            raise RowError("malformed", "a NUL character")
    length = sum(len(turn["content"]) + len(turn.get("tool_calls", "")) for turn in messages)
    if length > max_chars:
        raise RowError("too_long", f"{length} characters, at most {max_chars} are allowed")
    return Prompt(messages, category or UNSPECIFIED, source, line), unused


def is_held_out(prompt_id: str, percent: int) -> bool:
    """Whether a prompt belongs to the held-out part, about `percent` of 100 of all prompts.

    Decided by BLAKE2b of the id alone: neither the order nor the number of other prompts matters,
    and raising `percent` only adds prompts. Raises ValueError unless 0 <= percent <= 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent}: must be from 0 to 100; choose a share in that range")
    digest = hashlib.blake2b(b"held-out" + prompt_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) * 100 < percent << 64
