"""The rows a stage reads, as its worker gets them: JSON lines, train and eval, ordered by id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flows.plan.steps import Step
from storage.ledger import Ledger, Row, batches

EXAMPLES = """
    SELECT e.example_id AS id, p.messages, e.response
    FROM dataset_rows r
    JOIN examples e ON e.example_id = r.row_id
    JOIN prompts p USING (prompt_id)"""
PAIRS = """
    SELECT x.pair_id AS id, p.messages, x.chosen, x.rejected, x.preference
    FROM dataset_rows r
    JOIN pairs x ON x.pair_id = r.row_id
    JOIN prompts p USING (prompt_id)"""
PROMPTS = """
    SELECT p.prompt_id AS id, p.messages
    FROM dataset_rows r
    JOIN prompts p ON p.prompt_id = r.row_id"""
ROWS = {"sft": EXAMPLES, "reward": PAIRS, "dpo": PAIRS, "ppo": PROMPTS}

# Writes a job's rows into a folder, with the start of their files' names; returns their paths.
WriteData = Callable[[Path, str], dict[str, str]]


def snapshot_rows(ledger: Ledger, stage: Step, dataset_id: str) -> WriteData:
    """Writes the rows of a snapshot: "train", and "eval" for those held out."""

    def write(folder: Path, prefix: str) -> dict[str, str]:
        paths = {}
        for side, held_out in (("train", False), ("eval", True)):
            sql = f"{ROWS[stage]} WHERE r.dataset_id = ? AND r.is_held_out = ? ORDER BY id"
            with batches(ledger, sql, [dataset_id, held_out]) as found:
                rows = (_parsed(row) for batch in found for row in batch)
                paths[side] = _write(folder / f"{prefix}-{side}.jsonl", rows)
        return paths

    return write


def given_rows(name: str, rows: Iterable[dict[str, Any]]) -> WriteData:
    """Writes rows that are at hand."""
    return lambda folder, prefix: {name: _write(folder / f"{prefix}-{name}.jsonl", rows)}


def _parsed(row: Row) -> Row:
    return row | {"messages": json.loads(row["messages"])}


def _write(path: Path, rows: Iterable[Row]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(path)
