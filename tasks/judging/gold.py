"""Pairs of which it is known which response is better: what a judge's report card is made of.

A row of a file holds a prompt as `tasks/prompts` reads it (`messages`, `prompt`, `input`, ...) and

| columns | the better response |
|---|---|
| `chosen`, `rejected` | chosen; each a text, or a conversation of which the last turn counts |
| `first`, `second`, `label` | by `label`: 1 or "first", 2 or "second" |
| `output_1`, `output_2`, `label` | likewise (the form of LLMBar, arXiv 2310.07641) |

and, if wanted, `principle`: the slug whose question is asked. A row that cannot be read is an
error: a card must not rest on what was left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from constitution.checks import complies
from constitution.schema import Principle
from storage.errors import InputError
from storage.ids import content_id
from tasks.generation.calls import Answer
from tasks.prompts import Prompt
from tasks.prompts.files import iter_rows
from tasks.prompts.rows import SURROGATE, to_prompt
from tasks.prompts.turns import RowError, transcript

LABELS = {1: True, 2: False, "1": True, "2": False, "first": True, "second": False}
LABELLED = (("first", "second"), ("output_1", "output_2"))
MAX_CHARS = 100_000


@dataclass(frozen=True)
class GoldPair:
    """Two responses to a prompt and whether the first is the better one.

    principle: the slug by which it is; None where any principle's question may be asked.
    """

    prompt: Prompt
    first: Answer
    second: Answer
    is_first_better: bool
    principle: str | None = None

    @property
    def pair_id(self) -> str:
        words = [self.prompt.prompt_id, self.first.text, self.second.text, self.principle]
        return content_id("pair", words)


def read_gold(path: Path) -> list[GoldPair]:
    """The gold pairs of a .json, .jsonl, .csv, .parquet or .arrow file, in its order.

    Raises InputError, with file and line, at the first row that is none, and for a file that cannot
    be read or holds no row.
    """
    pairs = []
    for line, row in iter_rows(path):
        try:
            if isinstance(row, RowError):
                raise row
            pairs.append(_pair(row, str(path), line))
        except RowError as error:
            fix = "mend or remove the row"
            raise InputError(error.reason, error.detail, fix, f"{path}:{line}") from None
    if not pairs:
        raise InputError(path, "holds no gold pair", "give a file with at least one")
    return pairs


def graded(
    asked: Iterable[tuple[Prompt, Principle, Answer, Answer]],
) -> Iterator[GoldPair]:
    """Gold from principles that a program can check: pairs of which one answer alone keeps it."""
    for prompt, principle, one, other in asked:
        text = prompt.messages[-1]["content"]
        kept, other_kept = (complies(principle, text, a.text) for a in (one, other))
        if kept is not None and other_kept is not None and kept is not other_kept:
            yield GoldPair(prompt, one, other, kept, principle.slug)


def _pair(row: Any, source: str, line: int) -> GoldPair:
    """Raises RowError where the row is no gold pair."""
    prompt = to_prompt(row, source, line, MAX_CHARS)
    principle = row.get("principle")
    if principle is not None and not isinstance(principle, str):
        raise RowError("malformed", "`principle` must be a slug")
    first, second, is_first_better = _labelled(row)
    if first == second:
        raise RowError("malformed", "both responses are the same")
    return GoldPair(prompt, _answer(first), _answer(second), is_first_better, principle)


def _labelled(row: dict[str, Any]) -> tuple[str, str, bool]:
    if "chosen" in row and "rejected" in row:
        return _response(row, "chosen"), _response(row, "rejected"), True
    for first, second in LABELLED:
        if first in row and second in row:
            label = row.get("label")
            if isinstance(label, bool) or not isinstance(label, int | str) or label not in LABELS:
                raise RowError("malformed", f"`label` is {label!r}, not 1, 2, first or second")
            return _response(row, first), _response(row, second), LABELS[label]
    raise RowError("malformed", "needs chosen and rejected, or first, second and label")


def _response(row: dict[str, Any], column: str) -> str:
    """A text, or the last turn of a conversation, which must be the assistant's."""
    value: Any = row[column]
    if isinstance(value, str) and (turns := transcript(value)):
        value = turns
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        last = value[-1]
        if last.get("role", last.get("from")) not in ("assistant", "gpt"):
            raise RowError("malformed", f"`{column}` does not end with the assistant's turn")
        value = last.get("content", last.get("value"))
    if not isinstance(value, str):
        raise RowError("malformed", f"`{column}` must be a text or a conversation")
    if not value.strip():
        raise RowError("empty", f"`{column}` is empty")
    if "\0" in value or SURROGATE.search(value):
        raise RowError("malformed", f"`{column}` holds a character that is none")
    if len(value) > MAX_CHARS:
        raise RowError("too_long", f"`{column}` has more than {MAX_CHARS} characters")
    return value.strip()


def _answer(text: str) -> Answer:
    """A text that no model call of ours wrote: it has no completion id."""
    return Answer("", text, "stop", 0)
