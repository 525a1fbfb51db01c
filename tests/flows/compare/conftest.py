"""A ledger filled by hand: rows whose texts and principles the test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from constitution.schema import Constitution, Principle
from storage.ids import content_id, dataset_id
from storage.ledger import Ledger, insert, now
from tasks.generation.calls import principle_id
from tasks.generation.record import constitution_id, record_constitution


def principle(slug: str, **fields: Any) -> Principle:
    words = {
        "critique": f"What breaks {slug}?",
        "revision": f"Keep {slug}.",
        "comparison": "Which?",
    }
    return Principle(**{"slug": slug, "title": slug, **words, **fields})


def constitution(*principles: Principle, **fields: Any) -> Constitution:
    return Constitution(**{"name": "rules", "principles": principles, **fields})


RULES = constitution(principle("be-brief"), principle("be-kind"), principle("be-true"))


def reworded(rules: Constitution, slug: str, **fields: Any) -> Constitution:
    changed = (replace(p, **fields) if p.slug == slug else p for p in rules.principles)
    return replace(rules, principles=tuple(changed))


@dataclass(frozen=True)
class Made:
    """A row to write: prompt, draft and revision under a principle."""

    prompt: str
    draft: str
    revision: str
    slug: str = "be-brief"
    is_held_out: bool = False

    @property
    def prompt_id(self) -> str:
        return content_id("prompt", self.prompt)

    @property
    def pair_id(self) -> str:
        return content_id("pair", [self.prompt, self.draft, self.revision])


def _rows(row: Made, run_id: str, by: str, is_kept: bool) -> dict[str, dict[str, Any]]:
    """What a run writes for one revision, a row by table; one that is not kept is left out."""
    at: dict[str, Any] = {"created_at": now()}
    revision: dict[str, Any] = {
        "revision_id": f"rev_{run_id}_{row.pair_id}",
        "prompt_id": row.prompt_id,
    }
    revision |= {f"{name}_completion_id": "cmp" for name in ("response", "critique", "revision")}
    revision |= {"principle_id": by, "run_id": run_id, "round": 0} | at
    messages = json.dumps([{"role": "user", "content": row.prompt}])
    found: dict[str, dict[str, Any]] = {
        "prompts": {"prompt_id": row.prompt_id, "messages": messages} | at
    }
    if not is_kept:
        left_out = {"run_id": run_id, "row_id": revision["revision_id"], "step": "pairs"}
        return found | {
            "revisions": revision,
            "exclusions": left_out | {"reason": "unchanged"} | at,
        }
    pair: dict[str, Any] = {
        "pair_id": row.pair_id,
        "prompt_id": row.prompt_id,
        "chosen": row.revision,
    }
    pair |= {"rejected": row.draft, "source": "revision", "preference": 1.0} | at
    pair |= {"chosen_completion_id": "cmp", "rejected_completion_id": "cmp"}
    return found | {"pairs": pair, "revisions": revision | {"pair_id": row.pair_id}}


class Book:
    """Writes snapshots as a run does, straight into the tables. Tests reach the helpers by it."""

    rules = RULES
    made = Made
    principle = staticmethod(principle)
    constitution = staticmethod(constitution)
    reworded = staticmethod(reworded)

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)

    def run(self, run_id: str, rules: Constitution = RULES) -> str:
        record_constitution(self.ledger, rules, "rules.yaml")
        run = {"run_id": run_id, "constitution_id": constitution_id(rules), "recipe": "test"}
        self.insert("runs", [run | {"settings": "{}", "state": "completed", "started_at": now()}])
        return run_id

    def preferences(
        self, made: Sequence[Made], rules: Constitution = RULES, unchanged: Sequence[Made] = ()
    ) -> str:
        """A snapshot of pairs and what its run left out; returns its id."""
        run_id = self.run(content_id("run", [str(made), str(rules)]), rules)
        ids = {p.slug: principle_id(p) for p in rules.principles}
        kept = set(made)
        with self.ledger.transaction() as con:
            for row in (*made, *unchanged):
                for table, value in _rows(row, run_id, ids[row.slug], row in kept).items():
                    insert(con, table, [value])
        pair_ids = [m.pair_id for m in made if not m.is_held_out]
        held_out = [m.pair_id for m in made if m.is_held_out]
        found = dataset_id("preferences", pair_ids, held_out)
        self.snapshot(found, "preferences", run_id, pair_ids, held_out)
        return found

    def snapshot(
        self, found: str, kind: str, run_id: str, row_ids: list[str], held_out: list[str]
    ) -> None:
        counts = {"row_count": len(row_ids), "held_out_count": len(held_out), "created_at": now()}
        self.insert("datasets", [{"dataset_id": found, "run_id": run_id, "kind": kind} | counts])
        members = [(row_id, False) for row_id in row_ids] + [(row_id, True) for row_id in held_out]
        self.insert(
            "dataset_rows",
            [{"dataset_id": found, "row_id": r, "is_held_out": h} for r, h in members],
        )

    def checkpoint(self, name: str, stage: str, dataset: str, **fields: Any) -> str:
        """A checkpoint's row; fields may give components, parents, constitution_id."""
        found = f"{'evl' if stage == 'evaluate' else 'ckp'}_{name}"
        parents: dict[str, str] = fields.get("parents", {})
        row: dict[str, Any] = {
            "checkpoint_id": found,
            "base_model_id": "mdl_1",
            "dataset_id": dataset,
        }
        row |= {"constitution_id": fields.get("constitution_id"), "run_id": "run_1"}
        row |= {"stage": stage, "components": json.dumps(fields.get("components", {}))}
        row |= {"path": "checkpoints/x", "duration_s": 1.0, "created_at": now()}
        links: dict[str, Any] = {"parent_ids": list(parents.values())}
        links["parent_roles"] = list(parents)
        self.insert("checkpoints", [row | links])
        return found

    def metric(self, subject: str, name: str, value: float, step: int = -1, **fields: Any) -> None:
        row = {"subject_id": subject, "name": name, "step": step, "value": value}
        self.insert("metrics", [row | fields])

    def insert(self, table: str, values: list[dict[str, Any]]) -> None:
        with self.ledger.transaction() as con:
            insert(con, table, values)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "ledger.duckdb")
