"""Turns of a conversation in the forms that people write them. Pure functions.

A turn is {"role", "content"} or ShareGPT's {"from", "value"}; where both stand in one object (a
table made of two sets), the first that holds text counts. Content is text, a number, or a list of
parts of which each is text ({"type": "text", "text": ...}). Case, spaces and hyphens of a role do
not count.

A transcript is one as hh-rlhf writes them (Bai et al. 2022, arXiv 2204.05862). A marker counts only
at the start of a paragraph: the words "Human:" elsewhere are text. It may open with a system turn
("System:"), which hh-rlhf has not; our export writes it so.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import date, time
from decimal import Decimal
from typing import Any

from tasks.prompts.tool_turns import calls_of

TOOL = "tool"  # what a tool gave
CALL = "tool_call"  # an assistant's turn that calls one
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "ai", "bot", "chatbot"), "assistant"),
    **dict.fromkeys(("chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "ipython", "observation"), TOOL),
    **dict.fromkeys(("function_response", "tool_response"), TOOL),
    **dict.fromkeys(("function_call", "tool_call"), CALL),
}
MARKER = re.compile(r"\n\n(Human|Assistant):")
SYSTEM = re.compile(r"\n\nSystem:(.*)", re.DOTALL)
CALLS = ("tool_calls", "function_call")  # of an assistant's turn in OpenAI's form
ANSWERING = ("assistant", CALL, TOOL)  # roles of what comes before an answer is whole
TEXT_PARTS = ("text", "input_text", "output_text")
# Marks that are drawn as nothing, beside the characters of Unicode's categories C and Z.
UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

Turn = dict[str, str]


class RowError(ValueError):
    """A row cannot be a prompt; `reason` is one of rows.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def is_blank(text: str) -> bool:
    """Whether nobody can see anything of it: spaces, controls, format marks, variation selectors.

    Half of a surrogate pair is no such mark: what holds one is broken, not empty.
    """
    return all(
        character in UNSEEN
        or "\ufe00" <= character <= "\ufe0f"
        or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        for character in text
    )


def holds(value: Any) -> bool:
    """Whether a field holds anything: neither null, an empty list or object, nor a blank text."""
    if value is None or value == [] or value == {}:
        return False
    if isinstance(value, float):
        return not math.isnan(value)  # how tables write null
    return not (isinstance(value, str) and is_blank(value))


def text_of(value: Any, column: str) -> str:
    """The text of a field. Raises RowError where it has none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise RowError("empty", f"`{column}` is null")
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Decimal | date | time):
        return str(value)
    if isinstance(value, list):
        return "\n\n".join(_part(part, column) for part in value)
    raise RowError("malformed", f"`{column}` must be text, this is {type(value).__name__}")


def is_parts(value: Any) -> bool:
    """Whether a list holds parts of one content, not turns."""
    is_list = isinstance(value, list) and bool(value)
    return is_list and all(
        isinstance(part, dict) and "type" in part and not {"role", "from"} & set(part)
        for part in value
    )


def _part(part: Any, column: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text") if isinstance(part, dict) else type(part).__name__
    text = part.get("text") if isinstance(part, dict) else None
    if kind not in TEXT_PARTS or not isinstance(text, str):
        raise RowError("malformed", f"`{column}` has a part that is no text ({str(kind)[:40]})")
    return text


def transcript(text: str) -> list[Turn]:
    """The turns of a text that opens with a Human (or Assistant) turn; of any other text none.

    A System turn may come before them where there is an Assistant turn as well.
    """
    text = text.replace("\r\n", "\n")
    before, *pieces = MARKER.split("\n\n" + text.lstrip())
    system = SYSTEM.fullmatch(before) if "Assistant" in pieces[::2] else None
    if (before and not system) or not MARKER.search(text):
        return []
    first = [{"role": "system", "content": system[1]}] if system else []
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return first + [{"role": ROLES[name.lower()], "content": turn} for name, turn in turns]


def turn_list(value: Any, column: str, is_answered: bool = True) -> list[Turn]:
    """The turns of a list; with `is_answered` without what comes after the last question.

    Raises RowError where the list is none, or has a turn that cannot be read.
    """
    if not isinstance(value, list):
        raise RowError("malformed", f"`{column}` must be a list of turns")
    spoken = [(_role(turn, column), turn) for turn in value]
    while is_answered and spoken and spoken[-1][0] in ANSWERING:
        spoken.pop()
    return [_turn(turn, role, column) for role, turn in spoken]


def _turn(turn: dict[str, Any], role: str, column: str) -> Turn:
    if role != CALL:
        return {"role": role, "content": _content(turn, role, column)}
    text = _content(turn, role, column)
    calls = calls_of(turn, text)
    is_beside = any(holds(turn.get(key)) for key in CALLS)
    found = {"role": CALL, "content": text if is_beside else ""}
    return found | {"tool_calls": calls} if calls else found


def _role(turn: Any, column: str) -> str:
    if not isinstance(turn, dict):
        raise RowError("malformed", f"a turn of `{column}` must be an object")
    said = next((turn[key] for key in ("role", "from") if holds(turn.get(key))), None)
    name = re.sub(r"[\s-]+", "_", said.strip().casefold()) if isinstance(said, str) else ""
    if name not in ROLES:
        raise RowError("malformed", f"unknown role {str(said)[:40]!r} in `{column}`")
    calls = ROLES[name] == "assistant" and any(holds(turn.get(key)) for key in CALLS)
    return CALL if calls else ROLES[name]


def _content(turn: dict[str, Any], role: str, column: str) -> str:
    fields = [turn.get(key) for key in ("content", "value", "text")]
    found = next(filter(holds, fields), turn.get("content", turn.get("value")))
    if role not in (CALL, TOOL):
        return text_of(found, column)
    try:
        return text_of(found, column)
    except RowError:
        return json.dumps(found, ensure_ascii=False) if found else ""


def tidy(turns: list[Turn], tools: bool = False) -> list[Turn]:
    """Drop the trailing answer, refuse empty turns, join neighbours of one role by a blank line.

    tools: calls of tools and what these gave are kept as such, and no reason to refuse the row.
    """
    turns = [t | {"content": t["content"].replace("\r\n", "\n").strip()} for t in turns]
    while turns and turns[-1]["role"] in ANSWERING:
        turns.pop()
    if not any(turn["role"] == "user" for turn in turns):
        raise RowError("no_user_turn", "there is no user turn to answer")
    merged: list[Turn] = []
    for number, turn in enumerate(turns, 1):
        if turn["role"] in (CALL, TOOL):
            merged.append(_of_tool(turn, number, merged, tools))
            continue
        if is_blank(turn["content"]):
            raise RowError("empty", f"turn {number} ({turn['role']}) is empty")
        is_plain = bool(merged) and "tool_calls" not in merged[-1]
        if is_plain and merged[-1]["role"] == turn["role"]:
            merged[-1] = {**turn, "content": f"{merged[-1]['content']}\n\n{turn['content']}"}
        else:
            merged.append(turn)
    return _in_order(merged)


def _of_tool(turn: Turn, number: int, before: list[Turn], tools: bool) -> Turn:
    """A call, or what came of one before it. Raises RowError where it is not kept."""
    if not tools:
        raise RowError("tools", f"turn {number} calls a tool: the model is not known to take calls")
    if turn["role"] == CALL:
        if "tool_calls" not in turn:
            raise RowError("tools", f"turn {number} calls a tool in a form that is not known")
        return {**turn, "role": "assistant"}
    last = before[-1] if before else {"role": ""}
    if "tool_calls" not in last and last["role"] != TOOL:
        raise RowError("tools", f"turn {number} is what a tool gave that nobody called")
    return turn


def _in_order(turns: list[Turn]) -> list[Turn]:
    spoken = [turn["role"] for turn in turns]
    if "system" in spoken[1:]:
        raise RowError("malformed", "a system turn must come first")
    if next(role for role in spoken if role != "system") == "assistant":
        raise RowError("malformed", "the conversation starts with an assistant turn")
    return turns
