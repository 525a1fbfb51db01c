"""A and B, whatever they are, to one report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from constitution.load import from_body, load, meant_file, packaged
from constitution.schema import Constitution
from flows.explain.compare import principles, snapshots
from flows.explain.compare.report import (
    CheckpointDiff,
    ComponentChange,
    ConstitutionDiff,
    Measure,
    MetricRow,
    Report,
    Side,
    SnapshotDiff,
)
from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row
from storage.lookup import find
from tasks.generation.record import constitution_id
from tasks.training.keys import changes

FIX = (
    "give a constitution (a file or a name), or the id, the start of one or the ref"
    " of a constitution, snapshot or checkpoint"
)

IN_FORCE = {
    "snapshot": "SELECT constitution_id AS id FROM datasets JOIN runs USING (run_id)"
    " WHERE dataset_id = ?",
    "checkpoint": "SELECT constitution_id AS id FROM checkpoints WHERE checkpoint_id = ?",
}

COMPONENTS = "SELECT checkpoint_id AS id, components FROM checkpoints WHERE checkpoint_id IN (?, ?)"
# A whole is step -1; of a curve the last step counts.
METRICS = """
    SELECT subject_id, name, value, low, high, sample_count FROM metrics
    WHERE subject_id IN (?, ?) AND name <> 'peak_memory'
    QUALIFY row_number() OVER (
        PARTITION BY subject_id, name ORDER BY step = -1 DESC, step DESC) = 1
    ORDER BY name"""
# A checkpoint's own rows first, then those of the nearest checkpoint it came from.
DATASETS = """
    WITH RECURSIVE up(id, depth) AS (
        SELECT ?::VARCHAR, 0
        UNION SELECT unnest(c.parent_ids), up.depth + 1
        FROM up JOIN checkpoints c ON c.checkpoint_id = up.id)
    SELECT d.kind, c.dataset_id
    FROM up JOIN checkpoints c ON c.checkpoint_id = up.id JOIN datasets d USING (dataset_id)
    QUALIFY row_number() OVER (PARTITION BY d.kind ORDER BY up.depth, c.created_at DESC) = 1
    ORDER BY min(up.depth) OVER (PARTITION BY d.kind), d.kind"""


def compare(ledger: Ledger, a: str, b: str, limit: int) -> Report:
    """Everything that differs between what `a` and `b` name.

    limit: the most changed rows of a snapshot that come with their texts. Raises InputError where
    a name means nothing, or the two are of different kinds.
    """
    (left, before), (right, after) = _resolve(ledger, a), _resolve(ledger, b)
    if left.kind != right.kind:
        rule = f"is a {right.kind}, and {a} is a {left.kind}"
        raise InputError(b, rule, "give two constitutions, two snapshots or two checkpoints")
    if left.id == right.id:
        return Report(left, right)
    if before and after:
        return Report(left, right, principles.compare(left, right, before, after))
    constitution, notes = _in_force(ledger, left, right)
    if left.kind == "snapshot":
        found = snapshots.compare(ledger, left, right, limit)
        return Report(left, right, constitution, (found,), notes=tuple(notes))
    rows = tuple(_rows_behind(ledger, left, right, limit, notes))
    keys = _keys_and_measures(ledger, left, right)
    return Report(left, right, constitution, rows, keys, tuple(notes))


def _rows_behind(
    ledger: Ledger, a: Side, b: Side, limit: int, notes: list[str]
) -> Iterator[SnapshotDiff]:
    """Of each kind of rows, what both and all they came from learned from, where that differs.

    `notes` gets a line for each kind that is the same, or that one side lacks.
    """
    old, new = (
        {row["kind"]: row["dataset_id"] for row in ledger.query(DATASETS, [side.id])}
        for side in (a, b)
    )
    for kind in (kind for kind in old if kind in new):
        if old[kind] == new[kind]:
            notes.append(f"both learned from the same {kind} rows, {old[kind]}")
        else:
            left = _snapshot_side(ledger, f"{kind} rows of {a.name}", old[kind])
            right = _snapshot_side(ledger, f"{kind} rows of {b.name}", new[kind])
            yield snapshots.compare(ledger, left, right, limit)
    for kind in sorted(old.keys() ^ new.keys()):
        notes.append(f"only {a.name if kind in old else b.name} learned from {kind} rows")


def _keys_and_measures(ledger: Ledger, a: Side, b: Side) -> CheckpointDiff:
    rows = ledger.query(COMPONENTS, [a.id, b.id])
    parts: dict[str, Any] = {row["id"]: json.loads(row["components"]) for row in rows}
    components = tuple(ComponentChange(*change) for change in changes(parts[a.id], parts[b.id]))
    measures: dict[str, dict[str, Measure]] = {}
    for row in ledger.query(METRICS, [a.id, b.id]):
        measure = Measure(row["value"], row["low"], row["high"], row["sample_count"])
        measures.setdefault(row["name"], {})[row["subject_id"]] = measure
    metrics = tuple(
        MetricRow(name, found.get(a.id), found.get(b.id)) for name, found in measures.items()
    )
    return CheckpointDiff(components, metrics)


def _in_force(ledger: Ledger, a: Side, b: Side) -> tuple[ConstitutionDiff | None, list[str]]:
    """The constitutions in force when the two were made; notes where there is nothing to show."""
    found = {side: ledger.query(IN_FORCE[side.kind], [side.id]) for side in (a, b)}
    unknown = [side.name for side, rows in found.items() if not rows or rows[0]["id"] is None]
    if unknown:
        return None, [f"the ledger has no constitution for {name}" for name in unknown]
    old, new = (rows[0]["id"] for rows in found.values())
    if old == new:
        return None, [f"both were made under the same constitution, {old}"]
    left, before = _kept_constitution(ledger, f"constitution of {a.name}", old)
    right, after = _kept_constitution(ledger, f"constitution of {b.name}", new)
    return principles.compare(left, right, before, after), []


def _resolve(ledger: Ledger, name: str) -> tuple[Side, Constitution | None]:
    """The side that `name` means and, of a constitution, its content.

    A file or packaged name first, then the ledger. InputError, ConstitutionError for a file.
    """
    path = meant_file(name)
    if path is not None:
        content = load(path)
        return _side(name, constitution_id(content), content), content
    try:
        row_id = find(ledger, name, packaged())[0]
    except InputError as error:
        hint, sign, _ = error.fix.partition("? Or ")  # the name that is meant, if one is
        raise InputError(name, error.rule, f"{hint}{sign}{FIX}" if sign else FIX) from None
    kind = kind_of(row_id)
    if kind == "constitution":
        return _kept_constitution(ledger, name, row_id)
    if kind == "dataset":
        return _snapshot_side(ledger, name, row_id), None
    if kind in ("checkpoint", "evaluation"):
        stage = ledger.query("SELECT stage FROM checkpoints WHERE checkpoint_id = ?", [row_id])
        if stage:
            return Side(name, "checkpoint", row_id, stage[0]["stage"]), None
    raise InputError(name, f"names a {kind or 'thing'} that has no differences to show", FIX)


def _kept_constitution(ledger: Ledger, name: str, row_id: str) -> tuple[Side, Constitution]:
    """The constitution that the ledger keeps under this id; InputError where it has none."""
    found = ledger.query(
        "SELECT body, git_commit, git_author FROM constitutions WHERE constitution_id = ?", [row_id]
    )
    if not found:
        raise InputError(row_id, "the ledger has no constitution of this id", FIX)
    content = from_body(json.loads(found[0]["body"]))
    return _side(name, row_id, content, found[0]), content


def _snapshot_side(ledger: Ledger, name: str, row_id: str) -> Side:
    found = ledger.query("SELECT * FROM datasets WHERE dataset_id = ?", [row_id])
    if not found:
        raise InputError(row_id, "the ledger has no snapshot of this id", FIX)
    row = found[0]
    label = f"{row['kind']}, {row['row_count']} rows to train on, {row['held_out_count']} held out"
    return Side(name, "snapshot", row_id, label)


def _side(name: str, row_id: str, content: Constitution, row: Row | None = None) -> Side:
    parts = [f"{content.name} {content.version}".strip(), f"{len(content.principles)} principles"]
    if row and row["git_commit"]:
        parts.append(f"commit {row['git_commit'][:12]} by {row['git_author']}")
    return Side(name, "constitution", row_id, ", ".join(parts))
