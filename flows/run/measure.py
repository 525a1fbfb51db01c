"""Evaluation of every checkpoint on the held-out prompts, and the report of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.plan.inputs import count_exclusions
from flows.plan.keys import evaluation_components, evaluation_snapshot
from flows.plan.steps import STAGES
from flows.run.session import Session
from flows.run.stage_rows import given_rows
from flows.run.training import Job, ensure, has_changed, learned
from storage.artifacts import artifact_path
from storage.ledger import insert
from tasks.evaluation.checks import compliance
from tasks.evaluation.metrics import summarise
from tasks.evaluation.report import ReportData, StageResult, write_report
from tasks.generation.record import record_snapshot
from tasks.generation.snapshots import Rows
from tasks.training.keys import checkpoint_id

POLICIES = ("sft", "dpo", "ppo")


def evaluate_checkpoints(session: Session, checkpoints: dict[str, str]) -> str:
    """Base, SFT, DPO and PPO answer the held-out prompts; returns the evaluation's id."""
    inputs = session.inputs
    prompts = [
        {"id": p.prompt_id, "messages": list(p.messages), "category": p.category}
        for p in inputs.evaluation_prompts
    ]
    record_snapshot(session.ledger, session.run_id, evaluation_snapshot(inputs))
    parts = evaluation_components(inputs, checkpoints)
    adapters = {name: _adapter(session, checkpoints[name]) for name in POLICIES}
    extra = {
        "policies": [{"name": "base", "adapter": None}]
        + [{"name": name, "adapter": adapter} for name, adapter in adapters.items()],
        "reward": {"adapter": _adapter(session, checkpoints["reward"])},
    }
    job = Job(session, parts, checkpoints, given_rows("prompts", prompts), extra)
    evaluation_id = ensure(session, "evaluate", checkpoint_id(parts), job)
    _record_metrics(session, evaluation_id)
    return evaluation_id


def _adapter(session: Session, found: str) -> str:
    return str(artifact_path(session.workspace, found) / "adapter")


def answers_of(session: Session, evaluation_id: str) -> list[dict[str, Any]]:
    """What every policy answered: rows of answers.jsonl."""
    path = artifact_path(session.workspace, evaluation_id) / "answers.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _record_metrics(session: Session, evaluation_id: str) -> None:
    values = [
        {
            "subject_id": evaluation_id,
            "name": f"{row['policy']}/{row['metric']}",
            "step": -1,
            "value": row["value"],
            "low": row["low"],
            "high": row["high"],
            "sample_count": row["n"],
        }
        for row in _summary(session, answers_of(session, evaluation_id))
    ]
    with session.ledger.transaction() as con:
        insert(con, "metrics", values, replace=True)


def _summary(session: Session, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measures of the answers, and how often they keep the principles a program can check."""
    rules = compliance(session.inputs.constitution, answers)
    return summarise(answers, session.recipe.seed) + rules


def report(
    session: Session, rows: Rows, checkpoints: dict[str, str], evaluation_id: str | None
) -> Path:
    """Write the report into the folder of the evaluation, else of the run; returns report.md."""
    inputs = session.inputs
    answers = answers_of(session, evaluation_id) if evaluation_id else []
    data = ReportData(
        run_id=session.run_id,
        recipe=session.recipe.name,
        constitution_name=inputs.constitution.name,
        constitution_id=inputs.constitution_id,
        model_name=session.recipe.model,
        model_id=inputs.base_model_id,
        counts={
            "prompts": len(inputs.prompts),
            "revisions": session.result("revisions").reused + session.result("revisions").generated,
            "SFT examples": rows.sft.row_count,
            "pairs": rows.preferences.row_count,
            "held-out pairs": len(rows.preferences.held_out),
        },
        exclusions=[
            (found["step"], found["reason"], found["rows"])
            for found in count_exclusions(inputs.exclusions, rows.left_out)
        ],
        stages=[
            _stage(session, stage, checkpoints[stage]) for stage in STAGES if stage in checkpoints
        ],
        evaluation=_summary(session, answers),
        answers=answers,
        samples=session.recipe.evaluation.samples,
    )
    return write_report(session.workspace.reports / (evaluation_id or session.run_id), data)


def _stage(session: Session, stage: str, found: str) -> StageResult:
    metrics = {
        row["name"]: row["value"]
        for row in session.ledger.query(
            "SELECT name, value FROM metrics WHERE subject_id = ? AND step = -1", [found]
        )
    }
    rows = session.ledger.query(
        "SELECT row_count FROM datasets d JOIN checkpoints c USING (dataset_id)"
        " WHERE c.checkpoint_id = ?",
        [found],
    )
    return StageResult(
        stage=stage,
        checkpoint_id=found,
        is_reused=bool(session.result(stage).reused),
        rows=rows[0]["row_count"] if rows else 0,
        steps=int(metrics.get("steps", 0)),
        loss_first=metrics.get("loss_first"),
        loss_last=metrics.get("loss_last"),
        metrics_path=artifact_path(session.workspace, found) / "metrics.jsonl",
        measure=learned(metrics),
        has_changed=has_changed(metrics),
    )
