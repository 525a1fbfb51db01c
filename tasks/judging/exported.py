"""Rows as `solon export` writes them, read again: the same prompt, the same texts, the same ids.

A row holds `id`, `split` (train or test), a pair in the form of TRL or of hh-rlhf, or a prompt and
its `completion`; and what is known of it (`FACTS`). Its id is made again of what it holds, so a row
that was changed on the way is told from one that was not.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from storage.ids import content_id
from tasks.judging.pair_forms import two_responses
from tasks.prompts import Prompt
from tasks.prompts.rows import SURROGATE, to_prompt
from tasks.prompts.turns import RowError, turn_list

FACTS = ("category", "principle", "source", "evidence", "set", "licence", "ratio")
"""Columns of text that say where a row comes from; empty where there is nothing to say."""
SPLITS = {"train": False, "test": True}  # whether it is held out


@dataclass(frozen=True)
class Member:
    """A row of a snapshot: an example, or (where `rejected` is a text) a pair."""

    row_id: str
    prompt: Prompt
    chosen: str
    rejected: str | None
    preference: float
    is_held_out: bool
    principle: str
    evidence: str
    set: str
    licence: str

    @property
    def kind(self) -> str:
        return "sft" if self.rejected is None else "preferences"

    @property
    def content(self) -> str:
        """The id that its content makes."""
        prompt_id = self.prompt.prompt_id
        if self.rejected is None:
            return content_id("example", [prompt_id, self.chosen])
        words = [prompt_id, self.chosen, self.rejected, self.preference]
        return content_id("pair", words)


def member(row: Any, source: str, line: int) -> Member:
    """The row of an export. Raises RowError for one that is none, or is not what its id says."""
    prompt = to_prompt(row, source, line, sys.maxsize, tools=True)
    if not isinstance(row.get("split"), str) or row["split"] not in SPLITS:
        raise RowError("malformed", f"`split` is {row.get('split')!r}, not train or test")
    found = Member(
        str(row.get("id")),
        prompt,
        *_answers(row),
        _preference(row),
        SPLITS[row["split"]],
        *(_fact(row, name) for name in ("principle", "evidence", "set", "licence")),
    )
    if found.content != found.row_id:
        rule = f"its content makes {found.content}, not {found.row_id}: it was changed"
        raise RowError("malformed", rule)
    return found


def _answers(row: dict[str, Any]) -> tuple[str, str | None]:
    if "completion" not in row:
        chosen, rejected, _ = two_responses(row)
        return chosen, rejected
    turns = turn_list(row["completion"], "completion", is_answered=False)
    if [turn["role"] for turn in turns] != ["assistant"]:
        raise RowError("malformed", "`completion` is not one turn of the assistant")
    return turns[0]["content"].strip(), None


def _fact(row: dict[str, Any], name: str) -> str:
    value = row.get(name) or ""
    if not isinstance(value, str) or "\0" in value or SURROGATE.search(value):
        raise RowError("malformed", f"`{name}` is no text")
    return value


def _preference(row: dict[str, Any]) -> float:
    value = row.get("preference", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RowError("malformed", f"`preference` is {value!r}, not a number from 0 to 1")
    return float(value)
