"""The queue as a table for spreadsheets, and what comes back of it.

One row a verdict, and one without for a pair that nobody judged yet. Every cell is quoted, and one
that a spreadsheet might take for a formula begins with an apostrophe, which reading takes away
again, so that each text comes back exact. Columns may be moved, added or left out, separators be
semicolons or tabs; `verdict` must be there, and `id`, or `a` and `b`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.errors import InputError
from tasks.prompts.files import iter_rows
from tasks.prompts.turns import RowError, Turn
from tasks.review.given import Fault, Given
from tasks.review.queue import Item
from tasks.review.say import said_by
from tasks.review.verdicts import Verdict, by_subject

COLUMNS = ("id", "prompt", "under", "a", "b", "verdict", "edited", "by", "note", "said_at")
WORDS = {"both_bad": "both bad"}
# What spreadsheets calculate, with any apostrophes of ours, or theirs, before it.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def sheet(items: Sequence[Item], verdicts: Sequence[Verdict]) -> str:
    """The whole CSV, UTF-8 with the mark by which Excel knows it, for `newline=""`."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    given = by_subject(verdicts)
    for item in items:
        own: Sequence[Verdict | None] = given.get(item.subject.subject_id) or [None]
        for verdict in own:
            writer.writerow(map(neutral, _cells(item, verdict)))
    return "\ufeff" + text.getvalue()


def _cells(item: Item, verdict: Verdict | None) -> tuple[str, ...]:
    under = "; ".join(f"{p.title}: {p.comparison}" for p in item.principles)
    own = item.subject.subject_id, conversation(item.messages), under, *item.subject.shown
    if verdict is None:
        return (*own, "", "", "", "", "")
    said = said_by(verdict)
    word, at = WORDS.get(said, said), verdict.said_at.isoformat()
    return (*own, word, verdict.edited or "", verdict.author, verdict.note, at)


def conversation(messages: Sequence[Turn]) -> str:
    """A prompt for people: its text, or every turn with who says it."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


def neutral(cell: str) -> str:
    """A cell that no spreadsheet calculates; `exact` gives the text back."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def exact(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_sheet(path: Path) -> Iterator[Given | Fault]:
    """The rows of a CSV, TSV or Excel file. InputError where it is none, or lacks its columns."""
    for line, row in iter_rows(path):
        place = f"row {line}"
        if isinstance(row, RowError):
            yield Fault(place, row.reason, row.detail)
            continue
        cells = {str(name).strip().casefold(): _text(cell) for name, cell in row.items()}
        if not ("verdict" in cells and ("id" in cells or {"a", "b"} <= set(cells))):
            rule = f"has no columns verdict and id among {', '.join(cells) or 'none'}"
            raise InputError(path, rule, "give a file of solon review --export")
        if any(_SURROGATE.search(cell) for cell in cells.values()):
            yield Fault(place, "not_utf8", "save it as CSV UTF-8")
            continue
        own = [cells.get(name, "") for name in COLUMNS if name not in ("prompt", "under")]
        yield Given(place, *own)


def _text(cell: Any) -> str:
    return "" if cell is None else exact(str(cell))
