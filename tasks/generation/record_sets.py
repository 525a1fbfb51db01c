"""Write what people brought into the ledger: their sets, and exports that are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.ids import content_id, dataset_id
from storage.ledger import Columns, Connection, Ledger, insert, insert_columns, move, now, rows
from tasks.generation.self_instruct import Made
from tasks.generation.sets import IMPORTED, BroughtSet, SetRow
from tasks.judging.exported import Member

TABLES = {"sft": ("examples", "example_id"), "preferences": ("pairs", "pair_id")}


def record_set(con: Connection, own: BroughtSet, of: Sequence[SetRow], run_id: str | None) -> None:
    """Keep a set as it is named now, and which rows came with it."""
    found = {**vars(own), "set_id": own.set_id, "run_id": run_id, "updated_at": now()}
    insert(con, "sets", [found], replace=True)
    if of:
        insert(con, "set_rows", [{"set_id": own.set_id, **vars(row)} for row in of])


def unrecorded(ledger: Ledger, sets: Sequence[BroughtSet]) -> list[BroughtSet]:
    """Those of the sets that the ledger has not, or has under another name, licence or ratio."""
    known = ledger.query("SELECT set_id, source, licence, ratio FROM sets") if sets else []
    named = {row["set_id"]: (row["source"], row["licence"], row["ratio"]) for row in known}
    return [s for s in sets if named.get(s.set_id) != (s.source, s.licence, s.ratio)]


def record_import(
    ledger: Ledger, own: BroughtSet, members: Sequence[Member], ref: str
) -> tuple[str, int]:
    """Keep the rows of an export, all of one kind, whose prompts are there, as the snapshot that
    they were; point `ref` to it. Returns its id, and how many of its rows were not there before.

    A row that is there stays as it is, with its lineage; a new one comes from the set, and what the
    export says is the evidence for it is kept as the set's word.
    """
    kind = members[0].kind
    table, key = TABLES[kind]
    sides = [[m.row_id for m in members if m.is_held_out is side] for side in (False, True)]
    found = dataset_id(kind, *sides)
    with ledger.transaction() as con:
        new = _new(con, members, table, key)
        insert(con, table, [_row(m, key) for m in new])
        insert(con, "labels", [_label(m, own.set_id) for m in new if m.evidence])
        of = [SetRow(m.row_id, m.prompt.line, *_told(m)) for m in new]
        record_set(con, own, of, None)
        snapshot = {
            "dataset_id": found,
            "run_id": own.set_id,
            "kind": kind,
            "row_count": len(sides[0]),
            "held_out_count": len(sides[1]),
            "created_at": now(),
        }
        if insert(con, "datasets", [snapshot]):
            rows_of: Columns = {
                "dataset_id": [found] * len(members),
                "row_id": [*sides[0], *sides[1]],
                "is_held_out": [False] * len(sides[0]) + [True] * len(sides[1]),
            }
            insert_columns(con, "dataset_rows", rows_of)
        move(con, ref, found, note=f"imported from {own.path}")
    return found, len(new)


def _told(found: Member) -> list[str | None]:
    return [text or None for text in (found.principle, found.set, found.licence)]


def _new(con: Connection, members: Sequence[Member], table: str, key: str) -> list[Member]:
    ids = [m.row_id for m in members]
    sql = f"SELECT {key} AS id FROM {table} WHERE {key} IN (SELECT unnest(?::VARCHAR[]))"
    there = {row["id"] for row in rows(con, sql, [ids])}
    return [m for m in members if m.row_id not in there]


def _row(found: Member, key: str) -> dict[str, Any]:
    row = {
        key: found.row_id,
        "prompt_id": found.prompt.prompt_id,
        "source": IMPORTED,
        "created_at": now(),
    }
    if found.rejected is None:
        return row | {"completion_id": None, "response": found.chosen}
    nothing = dict.fromkeys(("chosen_completion_id", "rejected_completion_id", "revision_id"))
    sides = {"chosen": found.chosen, "rejected": found.rejected, "preference": found.preference}
    return row | nothing | sides


def _label(found: Member, set_id: str) -> dict[str, Any]:
    return {
        "label_id": content_id("label", [found.row_id, found.evidence, None, None, None]),
        "pair_id": found.row_id,
        "principle_id": None,
        "comparison_id": None,
        "run_id": set_id,
        "given_by": found.evidence,
        "rule": None,
        "preference": found.preference,
        "is_turned": False,
        "created_at": now(),
    }


def record_made(ledger: Ledger, made: Sequence[Made]) -> None:
    """Keep in which call each of these prompts was written, and what that call was shown."""
    written = [
        {
            "prompt_id": found.prompt.prompt_id,
            "completion_id": found.asked.call.completion_id,
        }
        for found in made
    ]
    shown = {
        (found.asked.call.completion_id, seed.prompt_id)
        for found in made
        for seed in found.asked.seeds
    }
    seeds = [{"completion_id": call, "prompt_id": seed} for call, seed in sorted(shown)]
    with ledger.transaction() as con:
        insert(con, "made_prompts", written)
        insert(con, "seeds", seeds)
