"""What a report is on: the evaluation, and the run, that a person means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.explain.run_report.report import About
from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row
from storage.lookup import find
from storage.own_refs import target
from tasks.generation.method import ROLES

LATEST = "latest/evaluate"
NAMED = "give a run, an evaluation, a checkpoint, or a ref as latest/evaluate"
OF_RUN = """
    SELECT subject_id AS id FROM decisions SEMI JOIN checkpoints ON checkpoint_id = subject_id
    WHERE run_id = ? AND step = 'evaluate' ORDER BY number DESC LIMIT 1"""
MEASURING = """
    SELECT checkpoint_id AS id FROM checkpoints
    WHERE stage = 'evaluate' AND list_contains(parent_ids, ?) ORDER BY created_at DESC LIMIT 1"""
MADE = """
    SELECT c.*, k.name AS constitution, k.body, m.reference AS model FROM checkpoints c
    LEFT JOIN constitutions k USING (constitution_id)
    LEFT JOIN models m ON m.model_id = c.base_model_id
    WHERE c.checkpoint_id = ?"""
RUNS = "SELECT run_id FROM runs WHERE starts_with(run_id, ?) LIMIT 2"
RUN = """
    SELECT r.*, k.name AS constitution, k.body FROM runs r
    LEFT JOIN constitutions k USING (constitution_id) WHERE run_id = ?"""


@dataclass(frozen=True)
class Subject:
    """What a report is on: the ids, and the rows of `checkpoints` and `runs` where known."""

    evaluation: Row | None
    run: Row | None

    @property
    def id(self) -> str:
        found = self.evaluation["checkpoint_id"] if self.evaluation else (self.run or {})["run_id"]
        return str(found)

    @property
    def run_id(self) -> str | None:
        return str(self.run["run_id"]) if self.run else None

    @property
    def measured(self) -> dict[str, str]:
        """The checkpoints that were measured, by what they were to the evaluation."""
        if not self.evaluation:
            return {}
        ids, roles = self.evaluation["parent_ids"], self.evaluation["parent_roles"]
        return dict(zip(roles or (), ids or (), strict=False))

    def about(self, settings: Mapping[str, str]) -> About:
        """The ids, and recipe, constitution, model and time as far as they are known."""
        made, run = self.evaluation or {}, self.run or {}
        when = made.get("created_at") or run.get("started_at")
        return About(
            id=self.id,
            run_id=self.run_id,
            evaluation_id=self.id if self.evaluation else None,
            recipe=run.get("recipe") or "unknown",
            constitution=made.get("constitution") or run.get("constitution") or "unknown",
            constitution_id=made.get("constitution_id") or run.get("constitution_id") or "",
            model=settings.get("model") or made.get("model") or "unknown",
            model_id=made.get("base_model_id") or "",
            made_at=f"{when:%Y-%m-%d %H:%M} UTC" if when else "",
            commit=run.get("git_commit") or "",
            others=_others(settings),
        )

    @property
    def body(self) -> dict[str, Any] | None:
        """The constitution's content; None where the ledger has not got it."""
        found = (self.evaluation or {}).get("body") or (self.run or {}).get("body")
        return json.loads(found) if found else None


def _others(settings: Mapping[str, str]) -> dict[str, str]:
    """The references of other models, and the names of those of servers, by role."""
    keys = {role: (f"models.{role}.model", f"models.{role}") for role in ROLES}
    found = {
        role: next((settings[k] for k in own if k in settings), "null")
        for role, own in keys.items()
    }
    return {role: name for role, name in found.items() if name != "null"}


def subject(ledger: Ledger, name: str | None) -> Subject:
    """What a person means by an id, its start or a ref; None: the latest evaluation."""
    if name is None and ledger.exists and not target(ledger, LATEST):
        raise InputError("report", "no evaluation has been made yet", "solon run, then again")
    runs = _runs(ledger, name or "")
    if len(runs) == 1:
        return of(ledger, runs[0], _first(ledger, OF_RUN, runs[0]))
    if runs:
        raise InputError(str(name), "several runs begin so", "give more of its digits", "ID")
    named = find(ledger, name or LATEST)[0]
    kind = kind_of(named)
    evaluation = named if kind == "evaluation" else _first(ledger, MEASURING, named)
    if kind not in ("evaluation", "checkpoint") or evaluation is None:
        rule = "no evaluation measured it" if kind == "checkpoint" else "there is no report on it"
        raise InputError(name or named, rule, NAMED, "ID")
    return of(ledger, None, evaluation)


def _runs(ledger: Ledger, name: str) -> list[str]:
    """The runs whose ids begin so, two at most."""
    found = ledger.query(RUNS, [name]) if name.startswith("run_") and ledger.exists else []
    return [row["run_id"] for row in found]


def of(ledger: Ledger, run_id: str | None, evaluation_id: str | None) -> Subject:
    """The subject of a run or an evaluation, or of both; without a run, the one that made it."""
    made = ledger.query(MADE, [evaluation_id]) if evaluation_id else []
    run_id = run_id or (made[0]["run_id"] if made else None)
    run = ledger.query(RUN, [run_id]) if run_id else []
    return Subject(made[0] if made else None, run[0] if run else None)


def _first(ledger: Ledger, sql: str, *parameters: str) -> str | None:
    return next((row["id"] for row in ledger.query(sql, list(parameters))), None)
