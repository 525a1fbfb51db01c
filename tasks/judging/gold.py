"""Pairs of which it is known which response is better: what a judge's report card is made of.

A row of a file holds a prompt as `tasks/prompts` reads it (`messages`, `prompt`, `input`, ...), two
responses in one of the forms of pair_forms.py and, if wanted, `principle`: the slug whose question
is asked. For a judge's card a row that cannot be read is an error: it must not rest on what was
left. Of pairs that people judged, which make rows, it is left out with its reason.
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
from tasks.chat.think import ALOUD, Thinking
from tasks.generation.calls import Answer
from tasks.judging.named_columns import Names, answered_row, asked_row
from tasks.judging.pair_forms import MAX_CHARS, asked_in, two_responses
from tasks.prompts import Prompt
from tasks.prompts.files import iter_rows
from tasks.prompts.left_out import LeftOut, rows_in
from tasks.prompts.rows import Exclusion, to_prompt
from tasks.prompts.source import files_of
from tasks.prompts.turns import RowError


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


def read_gold(path: Path, thinking: Thinking = ALOUD) -> list[GoldPair]:
    """The gold pairs of a file of one of `tasks.prompts.files.SUFFIXES`, in its order.

    Raises InputError, with file and line, at the first row that is none, and for a file that cannot
    be read or holds no row. Responses are without what was thought aloud.
    """
    pairs = []
    for line, found in _rows(path, thinking, str(path), {}):
        if isinstance(found, RowError):
            fix = "mend or remove the row"
            raise InputError(found.reason, found.detail, fix, f"{path}:{line}")
        pairs.append(found)
    if not pairs:
        raise InputError(path, "holds no gold pair", "give a file with at least one")
    return pairs


def read_judged(
    path: Path | str,
    thinking: Thinking = ALOUD,
    columns: Names | None = None,
    encoding: str = "utf-8",
) -> tuple[list[GoldPair], list[Exclusion]]:
    """The pairs that people judged of a file (or what else `prompts.path` may be), in its order,
    and every other row with its reason.

    columns: {our name: theirs}. Raises InputError for a source that cannot be read or has no pair.
    """
    pairs, others = [], LeftOut()
    for label, file in files_of(str(path)):
        for line, found in _rows(file, thinking, label, columns or {}, encoding):
            if isinstance(found, RowError):
                others.add(Exclusion(label, line, found.reason, found.detail))
            else:
                pairs.append(found)
    left_out = others.rows
    if not pairs:
        first = f"; row {left_out[0].line}: {left_out[0].detail}" if left_out else ""
        rule = f"holds no pair in {rows_in(left_out)} rows{first}"
        raise InputError(path, rule, "give rows with a prompt, chosen and rejected")
    return pairs, left_out


def _rows(
    path: Path, thinking: Thinking, label: str, columns: Names, encoding: str = "utf-8"
) -> Iterator[tuple[int, GoldPair | RowError]]:
    for line, row in iter_rows(path, None, encoding):
        try:
            is_bad = isinstance(row, RowError)
            yield line, row if is_bad else _pair(row, label, line, thinking, columns)
        except RowError as error:
            yield line, error


def graded(
    asked: Iterable[tuple[Prompt, Principle, Answer, Answer]],
) -> Iterator[GoldPair]:
    """Gold from principles that a program can check: pairs of which one answer alone keeps it."""
    for prompt, principle, one, other in asked:
        text = prompt.messages[-1]["content"]
        kept, other_kept = (complies(principle, text, a.text) for a in (one, other))
        if kept is not None and other_kept is not None and kept is not other_kept:
            yield GoldPair(prompt, one, other, kept, principle.slug)


def _pair(row: Any, source: str, line: int, thinking: Thinking, columns: Names) -> GoldPair:
    """Raises RowError where the row is no gold pair."""
    asked = asked_in(asked_row(row, columns)) if isinstance(row, dict) else row
    prompt = to_prompt(asked, source, line, MAX_CHARS)
    row = answered_row(row, columns)
    principle = row.get("principle")
    if principle is not None and not isinstance(principle, str):
        raise RowError("malformed", "`principle` must be a slug")
    *responses, is_first_better = two_responses(row)
    first, second = (heard_text(str(text), thinking) for text in responses)
    if first == second:
        raise RowError("malformed", "both responses are the same")
    return GoldPair(prompt, _answer(first), _answer(second), is_first_better, principle)


def heard_text(text: str, thinking: Thinking) -> str:
    """A response without its thoughts, of which its template may have begun the first.

    Raises RowError where nothing is left of it.
    """
    found = Thinking(thinking.tags).answer(text)
    if not found:
        raise RowError("malformed", "a response is a thought without an answer")
    return found


def _answer(text: str) -> Answer:
    """A text that no model call of ours wrote: it has no completion id."""
    return Answer("", text, "stop", 0)
