"""Sets of demonstrations: a prompt and a good answer, which SFT learns (and nothing else does).

| columns | the answer | set |
|---|---|---|
| `completion`, `output`, `answer`, `response` | the first that holds any | TRL, Alpaca, plain |
| `instances` | `output` of the first | Self-Instruct (arXiv 2212.10560) |
| `messages`, `conversations` | what the assistant says after the last question | OpenAI, ShareGPT |
| those of a pair (pair_forms.py) | the better one | UltraFeedback, hh-rlhf |
| `chosen`, `text`, `prompt` | the last turn of a transcript | |

The prompt is read as `tasks/prompts` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from storage.errors import InputError
from storage.ids import content_id
from tasks.chat.think import ALOUD, Thinking
from tasks.judging.gold import heard_text
from tasks.judging.named_columns import Names, answered_row, asked_row
from tasks.judging.pair_forms import DEMONSTRATED, MAX_CHARS, asked_in, response, two_responses
from tasks.prompts import Prompt
from tasks.prompts.files import iter_rows
from tasks.prompts.left_out import LeftOut, rows_in
from tasks.prompts.rows import Exclusion, to_prompt
from tasks.prompts.source import files_of
from tasks.prompts.turns import CALL, TOOL, RowError, holds, transcript, turn_list

TALKS = ("messages", "conversations")
TRANSCRIPTS = ("chosen", "text", "prompt")
NO_ANSWER = "no answer: needs messages, completion, output, answer, response or chosen"


@dataclass(frozen=True)
class Demonstration:
    """A prompt and the answer to learn."""

    prompt: Prompt
    response: str

    @property
    def example_id(self) -> str:
        return content_id("example", [self.prompt.prompt_id, self.response])


def read_demonstrations(
    source: str, thinking: Thinking = ALOUD, columns: Names | None = None, encoding: str = "utf-8"
) -> tuple[list[Demonstration], list[Exclusion]]:
    """The demonstrations of a file (or what else `prompts.path` may be), in its order, each once,
    and every other row with its reason.

    Raises InputError for a source that cannot be read or has no demonstration.
    """
    found: dict[str, Demonstration] = {}
    others = LeftOut()
    for label, line, row in _rows(source, encoding):
        try:
            read = _demonstration(row, label, line, thinking, columns or {})
            if read.example_id in found:
                raise RowError("duplicate", "the same prompt and answer came before")
            found[read.example_id] = read
        except RowError as error:
            others.add(Exclusion(label, line, error.reason, error.detail))
    left_out = others.rows
    if not found:
        first = f"; row {left_out[0].line}: {left_out[0].detail}" if left_out else ""
        rule = f"holds no demonstration in {rows_in(left_out)} rows{first}"
        raise InputError(source, rule, "give rows with a prompt and an answer")
    return list(found.values()), left_out


def _rows(source: str, encoding: str) -> Iterator[tuple[str, int, Any]]:
    for label, path in files_of(source):
        for line, row in iter_rows(path, None, encoding):
            yield label, line, row


def _demonstration(
    row: Any, label: str, line: int, thinking: Thinking, columns: Names
) -> Demonstration:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, dict):
        raise RowError("malformed", f"a row must be an object, this is {type(row).__name__}")
    prompt = to_prompt(asked_in(asked_row(row, columns)), label, line, MAX_CHARS)
    return Demonstration(prompt, heard_text(_answer(answered_row(row, columns)), thinking))


def _answer(row: dict[str, Any]) -> str:
    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    given = {"output": first.get("output")} if isinstance(first, dict) else {}
    for name in DEMONSTRATED:
        value = next(filter(holds, (row.get(name), given.get(name))), None)
        if value is not None:
            return response(value, name)[1]
    for name in TALKS:
        if isinstance(row.get(name), list) and (said := _last_said(row[name], name)):
            return response(said, name)[1]
    if not set(row) & {"rejected", "label", "winner", "better_response_id", "completions"}:
        return _last_turn(row)
    first_text, second_text, is_first_better = two_responses(row)
    return first_text if is_first_better else second_text


def _last_said(talk: list[Any], column: str) -> str:
    """What the assistant says after the last question; empty where that is nothing."""
    said: list[str] = []
    for turn in reversed(turn_list(talk, column, is_answered=False)):
        if turn["role"] in (CALL, TOOL):
            raise RowError("tools", "the answer calls a tool: tools cannot be given yet")
        if turn["role"] != "assistant":
            break
        said.insert(0, turn["content"].strip())
    return "\n\n".join(said)


def _last_turn(row: dict[str, Any]) -> str:
    for name in TRANSCRIPTS:
        value = row.get(name)
        is_talk = isinstance(value, list) or (isinstance(value, str) and transcript(value))
        if holds(value) and (name == "chosen" or is_talk):
            return response(value, name)[1]
    raise RowError("malformed", NO_ANSWER)
