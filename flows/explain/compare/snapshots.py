"""What changed between two snapshots of one kind. The counting is SQL; only shown texts come out.

Who made a row: of the revisions that gave it, the one whose principle the snapshot's constitution
holds, then the one its run assembled. So a row counts for one principle.
"""

from __future__ import annotations

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


def compare(ledger: Ledger, a: Side, b: Side, limit: int) -> SnapshotDiff:
    """Compare by prompt; at most `limit` changed rows come with their texts, largest edit first.

    Raises InputError where the two hold rows of different kinds.
    """
    with ledger.transaction() as con:
        kind = _prepare(con, a, b)
        states = {row["state"]: row for row in rows(con, sql.COUNTS)}
        flips = rows(con, sql.FLIPS)[0]["n"] if kind == "preferences" else None
        texts = tuple(map(_text, rows(con, sql.SHOWN, [RANKED_ROWS, limit])))
        changed_rows = rows(con, "SELECT count(*) AS n FROM diff_changed")[0]["n"]
        principles = _principles(con, kind) if kind in sql.EDITED else ()
    count = {name: states[name]["n"] if name in states else 0 for name in sql.STATE_NAMES}
    return SnapshotDiff(
        a,
        b,
        rows=kind,
        **count,
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
    con.execute(sql.OWNERS.format(**names) if kinds["a"] in sql.EDITED else sql.NO_OWNERS)
    con.execute(sql.CHANGED)
    return kinds["a"]


def _principles(con: Connection, kind: str) -> tuple[PrincipleUse, ...]:
    """Every principle that either side used or found without effect, by slug."""
    query = sql.USES.format(
        edited=sql.EDITED[kind], unchanged=sql.UNCHANGED[kind], tried=sql.TRIED[kind]
    )
    uses: dict[str, dict[str, Use]] = {}
    for row in rows(con, query, [SAMPLE_ROWS, SAMPLE_CELLS]):
        slug, side = row.pop("slug"), row.pop("side")
        uses.setdefault(slug, {})[side] = Use(**row)
    return tuple(PrincipleUse(slug, use.get("a"), use.get("b")) for slug, use in uses.items())


def _text(row: dict[str, Any]) -> TextChange:
    a, b = (
        Row(row[f"{side}_slug"], row[f"{side}_better"], row[f"{side}_worse"])
        if row[f"{side}_row"]
        else None
        for side in ("a", "b")
    )
    is_flip = bool(a and b and (a.response, a.rejected) == (b.rejected, b.response))
    return TextChange(row["prompt_id"], row["prompt"] or "", is_flip, a, b)
