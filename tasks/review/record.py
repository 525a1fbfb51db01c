"""Verdicts in the ledger: each is committed at once, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from storage.ledger import Ledger, Row, insert
from tasks.review.verdicts import Subject, Verdict

EVERY = """
    SELECT prompt_id, first, second, principle_ids, answer, edited, author, note, created_at
    FROM verdicts"""
STANDING = f"""{EVERY} WHERE NOT is_undone
    QUALIFY row_number() OVER (
        PARTITION BY subject_id, author ORDER BY created_at DESC, verdict_id) = 1
    ORDER BY created_at, verdict_id"""


def standing(ledger: Ledger) -> list[Verdict]:
    """The verdicts that count, the oldest first: of each author and subject the newest that was not
    undone.
    """
    return [_verdict(row) for row in ledger.query(STANDING)]


def everything(ledger: Ledger) -> list[Verdict]:
    """Every verdict there is, also those that were undone or followed by another."""
    return [_verdict(row) for row in ledger.query(EVERY)]


def keep(ledger: Ledger, verdicts: Sequence[Verdict]) -> int:
    """Write verdicts, all or none; returns how many are new."""
    rows = [
        {
            "verdict_id": verdict.verdict_id,
            "subject_id": verdict.subject.subject_id,
            "prompt_id": verdict.subject.prompt_id,
            "first": verdict.subject.first,
            "second": verdict.subject.second,
            "principle_ids": list(verdict.subject.principle_ids),
            "answer": verdict.answer,
            "edited": verdict.edited,
            "author": verdict.author,
            "note": verdict.note,
            "is_undone": False,
            "created_at": verdict.said_at,
        }
        for verdict in verdicts
    ]
    with ledger.transaction() as con:
        return insert(con, "verdicts", rows)


def undo(ledger: Ledger, verdict: Verdict) -> None:
    """Take a verdict back; what its author said before of the same counts again."""
    with ledger.transaction() as con:
        sql = "UPDATE verdicts SET is_undone = true WHERE verdict_id = ?"
        con.execute(sql, [verdict.verdict_id])


def _verdict(row: Row) -> Verdict:
    place = row["prompt_id"], row["first"], row["second"], tuple(row["principle_ids"])
    said = row["answer"], row["author"], row["created_at"], row["edited"], row["note"]
    return Verdict(Subject(*place), *said)
