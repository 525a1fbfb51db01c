"""What reviewers said since rows were made: the pairs that their verdicts make, turn or end."""

from __future__ import annotations

from collections import Counter

from storage.ledger import Ledger
from tasks.generation.reviewed import SPOILT
from tasks.generation.snapshots import WindowRows
from tasks.review.verdicts import BOTH_BAD, EVEN, Reviews

VERDICT = "verdict"  # the cause
KNOWN_LABELS = "SELECT verdict_id FROM labels SEMI JOIN wanted USING (verdict_id)"
KNOWN_ENDS = """
    SELECT DISTINCT row_id, reason, detail FROM exclusions
    SEMI JOIN wanted USING (row_id, reason, detail) WHERE step = 'pairs'"""


def unrecorded(ledger: Ledger, rows: WindowRows, reviews: Reviews) -> Counter[tuple[str, ...]]:
    """(step, component, was, is, root) of pairs that no run has made or left out by the verdicts
    of now, with how many have it; `is` names the reviewers.
    """
    if not reviews.by_prompt:
        return Counter()
    authors = {
        verdict.verdict_id: verdict.author
        for settled in reviews.by_prompt.values()
        for own in settled.values()
        for verdict in own.verdicts
    }
    said = [[label.verdict_id for label in pair.labels if label.verdict_id] for pair in rows.pairs]
    made = {"verdict_id": [verdict_id for own in said for verdict_id in own]}
    found = ledger.query(KNOWN_LABELS, wanted=made) if made["verdict_id"] else []
    known = {row["verdict_id"] for row in found}
    new = [", ".join(authors[v] for v in own) for own in said if not known.issuperset(own)]
    return Counter(("pairs", VERDICT, "(none)", by, VERDICT) for by in (*new, *_ends(ledger, rows)))


def _ends(ledger: Ledger, rows: WindowRows) -> list[str]:
    """The reviewers of each pool that is newly left without a pair."""
    ended = [
        (found.row_id, found.reason, found.detail)
        for found in rows.exclusions
        if found.step == "pairs" and found.reason in (BOTH_BAD, EVEN, SPOILT) and found.detail
    ]
    if not ended:
        return []
    names = ("row_id", "reason", "detail")
    wanted = {name: [end[n] for end in ended] for n, name in enumerate(names)}
    known = {tuple(row.values()) for row in ledger.query(KNOWN_ENDS, wanted=wanted)}
    return [end[-1] for end in ended if end not in known]
