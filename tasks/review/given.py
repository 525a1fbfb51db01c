"""Verdicts that come in a file, whoever wrote it: which are new, and why others are left out.

A row is about the answers of its id; where it has their texts as well they must be those. Without
an id it is about the answers of these texts. A row that was exported and comes back untouched says
nothing new, whatever its author said since; one that was changed is a new verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from storage.errors import InputError
from storage.ledger import now
from tasks.review.say import Said, verdict_of
from tasks.review.verdicts import Subject, Verdict

CELL_CHARS = 32_000  # spreadsheets cut a cell at 32,767 characters
WORDS: dict[str, Said] = {
    "a": "a",
    "b": "b",
    "tie": "tie",
    "both bad": "both_bad",
    "both_bad": "both_bad",
    "neither": "both_bad",
}


@dataclass(frozen=True)
class Given:
    """One row or annotation of a file as it stands there; `place` is for people."""

    place: str
    subject_id: str = ""
    a: str = ""
    b: str = ""
    said: str = ""
    edited: str = ""
    by: str = ""
    note: str = ""
    said_at: str = ""


@dataclass(frozen=True)
class Fault:
    """A row that is left out, and why."""

    place: str
    reason: str
    detail: str


@dataclass
class Taken:
    """What came of a file's rows: `read` = new + known + blank (no verdict) + left out."""

    verdicts: list[Verdict] = field(default_factory=list)
    known: int = 0
    blank: int = 0
    left_out: list[Fault] = field(default_factory=list)

    @property
    def read(self) -> int:
        return len(self.verdicts) + self.known + self.blank + len(self.left_out)

    def to_json(self) -> dict[str, Any]:
        faults = [vars(fault) for fault in self.left_out]
        counts = {"read": self.read, "new": len(self.verdicts), "known": self.known}
        return counts | {"blank": self.blank, "left_out": faults}


class Taker:
    """Takes rows in. `subjects`: what a verdict may be about; `said`: every verdict there is, also
    those that count no more, and `standing` those that count; `author`: of rows that name none.
    """

    def __init__(
        self,
        subjects: Iterable[Subject],
        said: Sequence[Verdict],
        standing: Sequence[Verdict],
        author: str,
    ) -> None:
        self.by_id = {subject.subject_id: subject for subject in subjects}
        self.by_text = {_texts(*subject.shown): subject for subject in self.by_id.values()}
        self.said, self.standing, self.author = said, standing, author

    def take(self, rows: Iterable[Given | Fault]) -> Taken:
        """Raises InputError where rows were meant to be verdicts and none is one."""
        taken = Taken()
        for row in rows:
            if isinstance(row, Fault):
                taken.left_out.append(row)
            elif not row.said.strip() and not row.edited.strip():
                taken.blank += 1
            else:
                self._take(row, taken)
        if taken.left_out and not (taken.verdicts or taken.known):
            first = taken.left_out[0]
            rule = f"no row of {taken.read} is a verdict: {first.place}: {first.detail}"
            raise InputError(first.place, rule, "mend the file; nothing was written")
        return taken

    def _take(self, row: Given, taken: Taken) -> None:
        found = self._verdict(row)
        if isinstance(found, Fault):
            taken.left_out.append(found)
        elif any(found.says(other) for other in (*self.standing, *taken.verdicts)):
            taken.known += 1
        elif any(found.says(other) and found.said_at == other.said_at for other in self.said):
            taken.known += 1
        else:
            taken.verdicts.append(found)

    def _verdict(self, row: Given) -> Verdict | Fault:
        subject = self.by_id.get(row.subject_id.strip()) or self.by_text.get(_texts(row.a, row.b))
        if subject is None:
            return Fault(row.place, "unknown", "its answers are not among the rows of this recipe")
        said = WORDS.get(" ".join(row.said.casefold().split()))
        if said is None:
            detail = f"verdict {row.said.strip()[:40]!r}: say a, b, tie or both bad"
            return Fault(row.place, "malformed", detail)
        is_turned = _is_turned(row, subject)
        if is_turned is None:
            detail = "its texts are not those of its id: write edits under edited"
            return Fault(row.place, "other_text", detail)
        if is_turned and said in ("a", "b"):
            said = "b" if said == "a" else "a"
        try:
            own = verdict_of(
                subject, said, row.by.strip() or self.author, row.edited or None, row.note.strip()
            )
        except InputError as error:
            return Fault(row.place, "malformed", f"{error.rule}; {error.fix}")
        return self._dated(own, _moment(row.said_at))

    def _dated(self, verdict: Verdict, at: datetime | None) -> Verdict:
        """The verdict with the time in the file, unless its author said another thing then."""
        if at is None or at > now():
            return verdict
        dated = Verdict(
            verdict.subject, verdict.answer, verdict.author, at, verdict.edited, verdict.note
        )
        own = (verdict.subject, verdict.author, at)
        then = [v for v in self.said if (v.subject, v.author, v.said_at) == own]
        return dated if all(dated.says(other) for other in then) else verdict


def _is_turned(row: Given, subject: Subject) -> bool | None:
    """Whether the row has as A what is shown as B; None where its texts are others."""
    a, b = subject.shown
    for is_turned, (first, second) in ((False, (a, b)), (True, (b, a))):
        if _is_text(row.a, first) and _is_text(row.b, second):
            return is_turned
    return None


def _is_text(cell: str, text: str) -> bool:
    """Whether a cell holds a text, or its beginning where it is too long for one, or nothing."""
    cell, text = _plain(cell), _plain(text)
    return cell in ("", text) or (len(cell) >= CELL_CHARS and text.startswith(cell[:CELL_CHARS]))


def _texts(a: str, b: str) -> frozenset[str]:
    return frozenset((_plain(a), _plain(b)))


def _plain(text: str) -> str:
    """Line ends and white space around it are the spreadsheet's."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
