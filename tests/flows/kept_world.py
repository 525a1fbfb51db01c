"""A workspace with several edits, made without a model: what clearing is tried on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.explain.lineage_text import lineage_lines, retrained_lines
from flows.explain.row_story import story_lines
from flows.explain.why import retrained, story
from flows.plan.inputs import Inputs
from storage.artifacts import writing
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.lineage import summary, traced
from storage.workspace import Workspace
from tasks.generation.record import record_model

from .world import World, most_used, reworded

SETTINGS = {"prompts.limit": 3}
KINDS = "checkpoint dataset pair example revision comparison completion model few_shot".split()


def run_id(number: int) -> str:
    return f"run_{number:032x}"


def checkpoint_id(number: int) -> str:
    return content_id("checkpoint", number)


class Edited(World):
    """Run 0 is the first; before each of the others one principle was worded anew."""

    def __init__(self, home: Path, edits: int = 3) -> None:
        super().__init__(home, **SETTINGS)
        slug, inputs = most_used(self), self.inputs
        self.inputs_of = [inputs]
        for number in range(edits + 1):
            self.run_as(number, inputs)
            if number < edits:
                inputs = self.edit(reworded(slug, ("critique", "revision")[number % 2]))
                self.inputs = inputs
                self.inputs_of.append(inputs)

    def run_as(self, number: int, inputs: Inputs) -> None:
        """A run as the ledger has it, with a checkpoint, a report and a log of its own."""
        self.run_id, started = run_id(number), now()
        record_model(self.ledger, inputs.base_model_id, "random", inputs.recipe.model)
        self.run(inputs)
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "constitution_id": inputs.constitution_id,
            "recipe": "smoke",
            "settings": inputs.recipe.model_dump_json(),
            "state": "completed",
            "started_at": started,
        }
        self._checkpoint(number, inputs)
        with self.ledger.transaction() as con:
            insert(con, "runs", [row | {"ended_at": now()}])
        for folder in (self.workspace.logs, self.workspace.reports):
            (folder / self.run_id).mkdir(parents=True)
            (folder / self.run_id / "file").write_text("x" * 1000)

    def _checkpoint(self, number: int, inputs: Inputs) -> None:
        made, snapshot = checkpoint_id(number), self.rows.preferences.dataset_id
        with writing(self.workspace, made) as out:
            (out / "adapter").write_bytes(bytes([number]) * 50_000)
        parts = {"code": "c", "seed": 1, "precision": "float32", "libraries": {"torch": "2"}}
        row = {
            "checkpoint_id": made,
            "base_model_id": inputs.base_model_id,
            "dataset_id": snapshot,
            "constitution_id": inputs.constitution_id,
            "run_id": self.run_id,
            "parent_ids": [inputs.base_model_id],
            "parent_roles": ["base"],
            "stage": "dpo",
            "components": json.dumps(parts),
            "path": f"artifacts/checkpoints/{made}",
            "duration_s": 1.0,
            "created_at": now(),
        }
        decided = {"run_id": self.run_id, "number": 0, "step": "dpo", "subject_id": made}
        decided |= {"verdict": "MISS", "row_count": 1, "component": "dataset", "was": "a"}
        with self.ledger.transaction() as con:
            insert(con, "checkpoints", [row])
            insert(con, "decisions", [decided | {"is_now": "b", "created_at": now()}])
            insert(con, "metrics", [{"subject_id": made, "name": "loss", "step": -1, "value": 1.0}])
        for name, target in (
            ("dpo", made),
            ("sft-rows", self.rows.sft.dataset_id),
            ("preferences-rows", snapshot),
        ):
            point(self.ledger, f"smoke/latest/{name}", target)


def whys(ledger: Ledger, ids: list[str]) -> dict[str, tuple[str, str]]:
    """What `solon why` says of each, in words and as JSON."""
    found = {}
    with ledger.transaction() as con:
        for row_id in ids:
            told, causes = story(con, row_id), retrained(con, row_id)
            lines = [
                *lineage_lines(summary(con, [row_id], "up"), "up"),
                *retrained_lines(causes),
                *(story_lines(told) if told else ()),
            ]
            whole = traced(con, [row_id], "up", 500) | {"story": told, "why": causes}
            found[row_id] = "\n".join(map(str, lines)), json.dumps(whole, default=str)
    return found


def some_ids(ledger: Ledger) -> list[str]:
    """Ids of every kind of row: the first and the last of each."""
    found = []
    for kind in KINDS:
        sql = f"SELECT {kind}_id AS id FROM {kind}s GROUP BY ALL ORDER BY {kind}_id"
        if kind == "completion":
            sql = "SELECT completion_id AS id FROM completions ORDER BY created_at, id"
        ids = [row["id"] for row in ledger.query(sql)]
        found += ids[:1] + ids[-1:]
    return found


def content(workspace: Workspace) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Every row of every table, and every file but the ledger's and the locks."""
    ledger = Ledger(workspace.ledger)
    tables = ledger.query("SELECT table_name AS t FROM duckdb_tables() WHERE NOT internal")
    names = sorted(row["t"] for row in tables if row["t"] != "migrations")
    held = {name: ledger.query(f"FROM {name} ORDER BY ALL") for name in names}
    files = {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in sorted(workspace.root.rglob("*"))
        if path.is_file() and not path.name.startswith("ledger.") and path.suffix != ".lock"
    }
    return held, files
