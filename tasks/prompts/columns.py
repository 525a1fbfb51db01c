"""Which columns of a row are the conversation. Pure functions.

The first of these columns that holds anything is the prompt (case of a name counts only where a
column is there that is written so):

| column | value |
|---|---|
| `messages`, `conversations` | list of turns (see turns.py) |
| `prompt` | text, a transcript, a list of turns, or an object with a `text` (Open Assistant) |
| `chosen` | a transcript (hh-rlhf) or a list of turns (preference sets) |
| `instruction`, `question`, `input` | text; `input` also {"messages": turns} (OpenAI) |
| `turns` | list of questions, of which the first is taken (MT-Bench) |
| `text` | a transcript |

What stands beside it changes what is asked, and becomes part of the conversation:

| column | value |
|---|---|
| `input` (or that of the first `instances`), `context` | text, after the question |
| `choices` | list of texts, or {"text", "label"} (ARC): a line each, after the question |
| `history` | earlier turns: pairs of texts, a list of turns, or a transcript |
| `system`, `system_prompt` | text, a system turn |

Where one of them has another form, and for `tools`, the caller is told that it is not used.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.prompts.turns import (
    RowError,
    Turn,
    holds,
    is_parts,
    text_of,
    transcript,
    turn_list,
)

TURN_COLUMNS = ("messages", "conversations")
TEXT_COLUMNS = ("instruction", "question", "input")
COLUMNS = (*TURN_COLUMNS, "prompt", "chosen", *TEXT_COLUMNS, "turns", "text")
SYSTEM_COLUMNS = ("system", "system_prompt")
TOOL_COLUMNS = ("tools", "functions")
BESIDE = ("context", "instances", "choices", "history", *SYSTEM_COLUMNS, *TOOL_COLUMNS)
NO_COLUMN = "no known column"
READ_COLUMNS = frozenset({*COLUMNS, *BESIDE, "category"})


def renamed(row: dict[str, Any], names: Mapping[str, str | None]) -> dict[str, Any]:
    """The row with columns under our names: `names` is {ours: theirs}, None for not to be read.

    Where a name of a prompt is given, no other column is taken for one; `input` stays beside it.
    Raises RowError where that column is not there.
    """
    if not names:
        return row
    if any(ours in COLUMNS and theirs and theirs not in row for ours, theirs in names.items()):
        raise no_column(row)
    others = {*COLUMNS, *names} - {"input"} if set(names) & set(COLUMNS) else set(names)
    kept = {key: value for key, value in row.items() if key not in others}
    return kept | {ours: row[theirs] for ours, theirs in names.items() if theirs in row}


def conversation(row: dict[str, Any]) -> tuple[list[Turn], list[str]]:
    """The turns of a row as they stand, and what beside them is not used, each with the reason.

    Raises RowError where no column holds a prompt.
    """
    row = _our_names(row)
    column, turns = _prompt(row)
    unused = [
        *_add_material(turns, row, column),
        *_add_choices(turns, row),
        *_add_history(turns, row),
        *_add_system(turns, row),
        *(f"`{name}`: tools are not given" for name in TOOL_COLUMNS if holds(row.get(name))),
    ]
    return turns, unused


def _our_names(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its columns' names in lower case, where they are ours but for that."""
    if any(column in row for column in COLUMNS):
        return row
    folded = {str(key).strip().casefold(): value for key, value in row.items()}
    if any(column in folded for column in COLUMNS):
        return folded
    raise no_column(row)


def no_column(row: Iterable[Any]) -> RowError:
    return RowError("malformed", f"{NO_COLUMN} (it has: {', '.join(list(map(str, row))[:8])})")


def _prompt(row: dict[str, Any]) -> tuple[str, list[Turn]]:
    """The first column that holds anything, and its turns."""
    found = [column for column in COLUMNS if column in row]
    there = [column for column in found if row[column] is not None]
    fitting = [name for name in there if _may_be_asked(row[name], name)]
    filled = [name for name in there if holds(row[name])]
    column = (fitting or filled or there or found)[0]
    value = row[column]
    if column in TURN_COLUMNS:
        return column, turn_list(_parsed(value), column)
    if column == "turns":
        questions = _parsed(value)
        if not isinstance(questions, list) or not questions:
            raise RowError("malformed", "`turns` must be a list of questions")
        return column, [_user(text_of(questions[0], column))]
    if column == "input" and isinstance(value, dict) and "messages" in value:
        return column, turn_list(value["messages"], "input.messages")
    if column in TEXT_COLUMNS:
        return column, [_user(text_of(value, column))]
    return column, _text_or_turns(value, column)


def _may_be_asked(value: Any, column: str) -> bool:
    """Whether a field holds anything; `chosen` and `text` more than an answer alone."""
    if column not in ("chosen", "text"):
        return holds(value)
    if isinstance(value, str):
        return bool(transcript(value))
    return isinstance(value, list) and len(value) > 1


def _text_or_turns(value: Any, column: str) -> list[Turn]:
    """`prompt`, `chosen` and `text`: turns, a transcript or (`prompt` only) plain text."""
    if isinstance(value, list) and not is_parts(value):
        return turn_list(value, column)
    if isinstance(value, dict) and column == "prompt":
        value = value.get("text")
    text = text_of(value, column)
    if turns := transcript(text):
        return turns
    if column == "prompt":
        return [_user(text)]
    if not holds(text):
        raise RowError("empty", f"`{column}` is empty")
    raise RowError("malformed", f"`{column}` holds no Human:/Assistant: transcript")


def _add_material(turns: list[Turn], row: dict[str, Any], column: str) -> Iterable[str]:
    """Put the material that a question speaks about after it, parted by a blank line."""
    is_question = column in ("prompt", *TEXT_COLUMNS) and len(turns) == 1
    if not is_question or not holds(turns[0]["content"]):
        return ["`context`: the turns have no place for it"] if holds(row.get("context")) else []
    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    asked = [row.get("input")] if column != "input" else []
    asked += [first.get("input")] if isinstance(first, dict) else []
    material = [next(filter(holds, asked), None), row.get("context")]
    unused = []
    for name, value in zip(("input", "context"), material, strict=True):
        if not holds(value):
            continue
        try:
            turns[0]["content"] += f"\n\n{text_of(value, name)}"
        except RowError:
            unused.append(f"`{name}`: it is no text")
    return unused


def _add_choices(turns: list[Turn], row: dict[str, Any]) -> Iterable[str]:
    """Put the choices after the last question, lettered unless they have labels of their own."""
    choices = _parsed(row.get("choices"))
    if not holds(choices) or not turns:
        return []
    if isinstance(choices, dict):
        texts, labels = choices.get("text"), choices.get("label")
    else:
        texts, labels = choices, None
    if not labels or not isinstance(labels, list | str):
        labels = string.ascii_uppercase
    try:
        if not isinstance(texts, list) or len(texts) > len(labels):
            raise RowError("malformed", "no list")
        shown = [text_of(text, "choices") for text in texts]
    except RowError:
        return ["`choices`: they are no list of texts"]
    if all(text in turns[-1]["content"] for text in shown):
        return []
    lines = (f"{label}. {text}" for label, text in zip(labels, shown, strict=False))
    turns[-1] = turns[-1] | {"content": turns[-1]["content"] + "\n\n" + "\n".join(lines)}
    return []


def _add_history(turns: list[Turn], row: dict[str, Any]) -> Iterable[str]:
    history = _parsed(row.get("history"))
    if not holds(history):
        return []
    try:
        before = _earlier(history)
    except RowError:
        return ["`history`: it is no list of earlier turns"]
    place = 1 if turns and turns[0]["role"] == "system" else 0
    turns[place:place] = before
    return []


def _earlier(history: Any) -> list[Turn]:
    """The turns of a history. Raises RowError where it has none of the known forms."""
    if isinstance(history, str):
        if turns := transcript(history):
            return turns
        raise RowError("malformed", "text")
    if not isinstance(history, list):
        raise RowError("malformed", "no list")
    if all(isinstance(each, list | tuple) and len(each) == 2 for each in history):
        texts = [text for pair in history for text in pair]
    elif all(isinstance(each, str) for each in history) and len(history) % 2 == 0:
        texts = list(history)
    else:
        return turn_list(history, "history", is_answered=False)
    roles = ("user", "assistant") * (len(texts) // 2)
    said = zip(roles, texts, strict=True)
    return [{"role": role, "content": text_of(t, "history")} for role, t in said if holds(t)]


def _add_system(turns: list[Turn], row: dict[str, Any]) -> Iterable[str]:
    """Put the system text first; one that the conversation opens with is not said twice."""
    for name in SYSTEM_COLUMNS:
        value = row.get(name)
        if not holds(value):
            continue
        if not isinstance(value, str):
            yield f"`{name}`: it is no text"
            continue
        opening = turns[0] if turns and turns[0]["role"] == "system" else {"content": ""}
        if value.strip() not in opening["content"]:
            turns.insert(0, {"role": "system", "content": value})


def _parsed(value: Any) -> Any:
    """A list as it is; a list written as JSON text (in a CSV cell) read."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}
