"""What changed between two checkpoints: the parts of their keys, their measures, their rows."""

from __future__ import annotations

import json
from typing import Any

from flows.explain.compare.report import CheckpointDiff, ComponentChange, Measure, MetricRow, Side
from storage.ledger import Ledger
from tasks.training.keys import changes

COMPONENTS = "SELECT checkpoint_id AS id, components FROM checkpoints WHERE checkpoint_id IN (?, ?)"
# A whole is step -1; of a curve the last step counts.
METRICS = """
    SELECT subject_id, name, value, low, high, sample_count FROM metrics
    WHERE subject_id IN (?, ?)
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


def compare(ledger: Ledger, a: Side, b: Side) -> CheckpointDiff:
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


def snapshots_behind(ledger: Ledger, checkpoint_id: str) -> dict[str, str]:
    """Snapshot ids by kind of rows: of the checkpoint and of all it came from, the nearest."""
    return {row["kind"]: row["dataset_id"] for row in ledger.query(DATASETS, [checkpoint_id])}
