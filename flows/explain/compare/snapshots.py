"""What changed between two snapshots of one kind. The counting is SQL; only shown texts come out.

Who made a row: of the revisions that gave it, the one whose principle the snapshot's constitution
holds, then the one its run assembled. So a row counts for one principle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.explain.compare import snapshot_sql as sql
from flows.explain.compare.report import PrincipleUse, Row, Side, SnapshotDiff, TextChange, Use
from storage.errors import InputError
from storage.ledger import Connection, Ledger, rows

SAMPLE_ROWS = 300
# Cells of Levenshtein tables for all samples together: DuckDB fills about 460 million a second.
SAMPLE_CELLS = 1_000_000_000
# The size of an edit takes about 0.1 ms; past so many rows only the first by id are ranked.
RANKED_ROWS = 10_000

Uses = dict[tuple[str, str], dict[str, Any]]


def compare(ledger: Ledger, a: Side, b: Side, limit: int) -> SnapshotDiff:
    """Compare by prompt; at most `limit` changed rows come with their texts, largest edit first.

    Raises InputError where the two hold rows of different kinds.
    """
    with ledger.transaction() as con:
        kind = _prepare(con, a, b)
        states = {row["state"]: row for row in rows(con, sql.COUNTS)}
        flips = rows(con, sql.FLIPS)[0]["n"] if kind == "preferences" else None
        texts = tuple(_text(row) for row in rows(con, sql.SHOWN, [RANKED_ROWS, limit]))
        changed_rows = rows(con, "SELECT count(*) AS n FROM diff_changed")[0]["n"]
        principles = tuple(_principles(con, kind)) if kind in sql.EDITED else ()
    count = {name: row["n"] for name, row in states.items()}
    return SnapshotDiff(
        a,
        b,
        rows=kind,
        same=count.get("same", 0),
        changed=count.get("changed", 0),
        appeared=count.get("appeared", 0),
        vanished=count.get("vanished", 0),
        moved_split=sum(row["moved"] for row in states.values()),
        flips=flips,
        principles=principles,
        texts=texts,
        left_out=changed_rows - len(texts),
        ranked=min(changed_rows, RANKED_ROWS),
    )


def _prepare(con: Connection, a: Side, b: Side) -> str:
    """Make the temporary tables; returns the kind of rows both hold."""
    con.execute(sql.SIDES, [a.id, b.id])
    found = rows(con, "SELECT side, kind FROM diff_sides JOIN datasets USING (dataset_id)")
    kinds = {row["side"]: row["kind"] for row in found}
    if kinds["a"] != kinds["b"]:
        rule = f"holds {kinds['b']} rows, and {a.name} holds {kinds['a']} rows"
        raise InputError(b.name, rule, "give two snapshots of one kind")
    table, key, better, worse = sql.KINDS[kinds["a"]]
    names = {"table": table, "key": key, "better": better, "worse": worse}
    for statement in (sql.ROWS, sql.STATES, sql.TEXTS):
        con.execute(statement.format(**names))
    con.execute(sql.OWNERS.format(key=key) if kinds["a"] in sql.EDITED else sql.NO_OWNERS)
    con.execute(sql.CHANGED)
    return kinds["a"]


def _principles(con: Connection, kind: str) -> Iterator[PrincipleUse]:
    """Every principle that either side used or found without effect, by slug."""
    lengths = _by_principle(con, sql.LENGTHS)
    unchanged = _by_principle(con, sql.UNCHANGED[kind])
    budget = SAMPLE_CELLS // max(len(lengths), 1)
    edits = _by_principle(con, sql.EDITS.format(edited=sql.EDITED[kind]), [SAMPLE_ROWS, budget])
    for slug in sorted({slug for _, slug in (*lengths, *unchanged)}):
        sides = [
            _use(kind, lengths.get(key, {}), unchanged.get(key, {}), edits.get(key, {}))
            for key in (("a", slug), ("b", slug))
        ]
        yield PrincipleUse(slug, *sides)


def _by_principle(con: Connection, query: str, parameters: list[int] | None = None) -> Uses:
    return {(row["side"], row["slug"]): row for row in rows(con, query, parameters or ())}


def _use(
    kind: str, length: dict[str, Any], unchanged: dict[str, Any], edit: dict[str, Any]
) -> Use | None:
    """An unchanged revision makes no pair, but it does make an SFT example."""
    if not length and not unchanged:
        return None
    used, without_effect = length.get("rows", 0), unchanged.get("unchanged", 0)
    tried = used + without_effect if kind == "preferences" else used
    return Use(
        rows=used,
        unchanged=without_effect,
        no_change_rate=without_effect / tried,
        edit_distance=edit.get("edit_distance"),
        sampled=edit.get("sampled", 0),
        words=length.get("words"),
        characters=length.get("characters"),
    )


def _text(row: dict[str, Any]) -> TextChange:
    a, b = (
        Row(row[f"{side}_slug"], row[f"{side}_better"], row[f"{side}_worse"])
        if row[f"{side}_row"]
        else None
        for side in ("a", "b")
    )
    return TextChange(row["prompt_id"], row["prompt"] or "", _is_flip(a, b), a, b)


def _is_flip(a: Row | None, b: Row | None) -> bool:
    if a is None or b is None:
        return False
    return (a.response, a.rejected) == (b.rejected, b.response)
