"""From what a reviewer says of the answers shown as A and B to a verdict by content."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from storage.errors import InputError
from storage.ledger import now
from tasks.hygiene.same import is_unchanged
from tasks.review.verdicts import Answer, Subject, Verdict

Side = Literal["a", "b"]
Said = Literal["a", "b", "tie", "both_bad"]
SAID: tuple[Said, ...] = get_args(Said)
MAX_CHARS = 100_000  # of an edited answer
MAX_NAME = 200


def checked_name(author: str) -> str:
    """A reviewer's name on one line. InputError without any, or for one that is too long."""
    name = " ".join(author.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        rule = f"a reviewer has a name of 1 to {MAX_NAME} printable characters"
        raise InputError(author, rule, "give one, as --by Ada", "--by")
    return name


def verdict_of(
    subject: Subject,
    said: Said,
    author: str,
    edited: str | None = None,
    note: str = "",
    said_at: datetime | None = None,
) -> Verdict:
    """`edited`: A or B, whichever is better, as the reviewer would have it. `said_at`: None, now.

    Raises InputError for an edited text where neither is better, and for one that is empty, too
    long, no text, or says what the other answer says; for a note that is no text.
    """
    answer, text = _answer(subject, said, edited)
    if not _is_text(note):
        raise InputError(ascii(note), "a note is a text", "write one, or leave it empty", "note")
    return Verdict(subject, answer, checked_name(author), said_at or now(), text, note)


def said_by(verdict: Verdict) -> Said:
    """What a verdict says of the answers as they are shown."""
    if verdict.answer == "tie" or verdict.answer == "both_bad":
        return verdict.answer
    return "a" if verdict.answer == verdict.subject.named("a") else "b"


def _answer(subject: Subject, said: Said, edited: str | None) -> tuple[Answer, str | None]:
    if said == "a" or said == "b":
        return subject.named(said), _edited(subject, said, edited)
    if edited and edited.strip():
        rule = "an edited text is of the better answer, and neither is"
        raise InputError(edited, rule, "say a or b, or leave it empty", "edited")
    return said, None


def _is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" or c == "\0" for c in text)


def _edited(subject: Subject, side: Side, edited: str | None) -> str | None:
    """The text to keep; None where nothing was edited."""
    if edited is None:
        return None
    text = edited.replace("\r\n", "\n").strip()
    own, other = subject.shown if side == "a" else subject.shown[::-1]
    if text == own.replace("\r\n", "\n"):
        return None
    if not (0 < len(text) <= MAX_CHARS and _is_text(text)):
        rule = f"an edited answer is a text of 1 to {MAX_CHARS} characters"
        raise InputError(text, rule, "write one, or take the answer as it is", "edited")
    if is_unchanged(text, other):
        raise InputError(text, "it says what the other answer says", "choose that one", "edited")
    return text
