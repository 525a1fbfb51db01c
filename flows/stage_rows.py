"""The rows a stage reads, as its worker gets them: JSON lines, train and eval, ordered by id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flows.inputs import Inputs
from flows.recipe import Step
from tasks.generation.record import Snapshot
from tasks.generation.snapshots import Rows


def stage_rows(inputs: Inputs, stage: Step, rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """The rows a stage reads, train and eval, each in the order of their ids."""
    messages = {prompt.prompt_id: list(prompt.messages) for prompt in inputs.prompts}
    if stage == "sft":
        by_id: dict[str, dict[str, Any]] = {
            e.example_id: {
                "id": e.example_id,
                "messages": messages[e.prompt_id],
                "response": e.response,
            }
            for e in rows.examples.values()
        }
        return _split(by_id, rows.sft)
    if stage == "ppo":
        by_id = {
            prompt_id: {"id": prompt_id, "messages": found} for prompt_id, found in messages.items()
        }
        return _split(by_id, inputs.prompt_snapshot)
    by_id = {
        p.pair_id: {
            "id": p.pair_id,
            "messages": messages[p.prompt_id],
            "chosen": p.chosen.text,
            "rejected": p.rejected.text,
            "preference": p.preference,
        }
        for p in rows.pairs.values()
    }
    return _split(by_id, rows.preferences)


def _split(by_id: dict[str, dict[str, Any]], snapshot: Snapshot) -> dict[str, list[dict[str, Any]]]:
    sides: dict[str, Sequence[str]] = {"train": snapshot.training, "eval": snapshot.held_out}
    return {side: [by_id[row_id] for row_id in ids] for side, ids in sides.items()}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    """Write rows as JSON lines; returns the path as a string."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(path)
