"""What a cleared ledger still names, which is what the files beside it are judged by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.keeping import KEPT_RUNS
from storage.ledger import Connection, Row, rows

IDS = """
    SELECT checkpoint_id FROM checkpoints UNION SELECT dataset_id FROM datasets
    UNION SELECT run_id FROM kept_runs"""
RUNS = "SELECT r.run_id, r.started_at, r.ended_at, settings FROM runs r SEMI JOIN kept_runs"
ALL_OPEN = "SELECT run_id FROM runs WHERE state = 'running'"
KNOWN = "SELECT reference FROM models"
USED = """
    SELECT reference FROM models WHERE model_id IN (
        SELECT model_id FROM completions UNION SELECT model_id FROM comparisons
        UNION SELECT base_model_id FROM checkpoints UNION SELECT base_model_id FROM models)"""


@dataclass(frozen=True)
class Left:
    """ids: of checkpoints, evaluations, snapshots and the runs that are kept.

    runs: `run_id`, `started_at`, `ended_at` of those. used: the references of models that rows are
    from, or that these runs name; known: of all models that a row names.
    """

    ids: frozenset[str]
    runs: tuple[Row, ...]
    used: frozenset[str]
    known: frozenset[str]


def left(con: Connection, keep_runs: int, since: datetime | None) -> Left:
    """Read once the rows are cleared, in that transaction or a later one."""
    con.execute(KEPT_RUNS, [keep_runs, since])
    runs = rows(con, f"{RUNS} USING (run_id)")
    used = _column(con, USED).union(*(_named(json.loads(run.pop("settings"))) for run in runs))
    return Left(_column(con, IDS), tuple(runs), used, _column(con, KNOWN))


def open_runs(con: Connection) -> frozenset[str]:
    """The runs that the ledger has as running."""
    return _column(con, ALL_OPEN)


def _column(con: Connection, sql: str) -> frozenset[str]:
    return frozenset(str(value) for (value,) in con.execute(sql).fetchall() if value is not None)


def _named(settings: dict[str, Any]) -> set[str]:
    """The models that a recipe names by a reference."""
    roles = (settings.get("models") or {}).values()
    return {name for name in (settings.get("model"), *roles) if isinstance(name, str)}
