"""From the ledger's rows and an evaluation's artifacts to a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from constitution.load import from_body
from constitution.schema import Principle
from flows.explain.document.write import put
from flows.explain.run_report import moved, read
from flows.explain.run_report.describe import document
from flows.explain.run_report.read import Subject
from flows.explain.run_report.report import Curve, Figure, RunReport, Stage
from flows.explain.run_report.verdict import (
    Evidence,
    cautions,
    judge_trust,
    reward_trust,
    sentences,
)
from flows.plan.steps import STAGES
from storage.artifacts import artifact_path
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.training.settings import WEIGHT_CHANGE

ANSWERS, CURVES = "answers.jsonl", "metrics.jsonl"
DRAWN = ("loss", "eval_loss", "objective/scores", "objective/kl")
SHOWN = 6


def write_report(
    ledger: Ledger, workspace: Workspace, run_id: str, evaluation_id: str | None
) -> Path:
    """Write a run's report where the workspace has its reports; returns the page's path."""
    report = build(ledger, workspace, read.of(ledger, run_id, evaluation_id))
    return put(workspace.reports / report.id, document(report), report.to_json())


def build(ledger: Ledger, workspace: Workspace, subject: Subject) -> RunReport:
    """The report on what `read.subject` found."""
    parents = read.checkpoints(ledger, subject)
    figures = read.figures(read.metrics(ledger, subject.id)) if subject.evaluation else {}
    rows = _rows(artifact_path(workspace, subject.id) / ANSWERS) if subject.evaluation else []
    asked = moved.questions(rows, _principles(subject.body))
    policies = tuple(figures)
    stages = _stages(ledger, workspace, parents)
    trained_on = next((s.dataset_id for s in stages if s.stage in ("dpo", "reward")), None)
    data = read.data(ledger, trained_on, subject.run_id)
    card, bins = read.judge(ledger, subject.run_id, read.run_of(ledger, data.dataset_id))
    reward = next((s for s in stages if s.stage == "reward"), None)
    measured = read.metrics(ledger, reward.checkpoint_id) if reward else None
    found = Evidence(
        policies,
        figures,
        read.gates(ledger, subject.id) if subject.evaluation else (),
        moved.equal(asked, policies),
        reward_trust(measured, reward.has_changed if reward else True),
        judge_trust(card),
    )
    said = sentences(found) if subject.evaluation else (_unmeasured(stages, data.said),)
    like_sft = moved.equal(asked, [p for p in policies if p not in ("base", *found.equal)], "sft")
    settings = read.settings(subject.run)
    return RunReport(
        id=subject.id,
        run_id=subject.run_id,
        evaluation_id=subject.id if subject.evaluation else None,
        **subject.names(settings),
        verdict=said[0],
        also=said[1:],
        cautions=cautions(found, stages, like_sft),
        policies=policies,
        checkpoints=parents,
        figures=figures,
        gates=tuple(found.gates),
        equal=tuple(found.equal),
        reward_model=found.reward_model,
        judge_trust=found.judge,
        judge=card,
        reliability=bins,
        gains=moved.extremes(asked, 1),
        regressions=moved.extremes(asked, -1),
        shown=moved.shown(asked, _count(settings)),
        lengths=_lengths(rows),
        stages=stages,
        data=data,
        left_out=read.left_out(ledger, subject.run_id),
        settings=settings,
    )


def _unmeasured(stages: Sequence[Stage], said: Sequence[str]) -> str:
    if stages:
        return "No verdict: nothing was evaluated."
    first = f" {said[0][0].upper()}{said[0][1:]}." if said else ""
    return f"No verdict: nothing was trained.{first}"


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of answers.jsonl; none where the artifact is not there any more."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _principles(body: Mapping[str, Any] | None) -> tuple[Principle, ...]:
    return from_body(body).principles if body else ()


def _count(settings: Mapping[str, str]) -> int:
    known = (settings.get(f"evaluation.{name}") for name in ("shown", "samples"))
    return next((int(value) for value in known if value and value.isdigit()), SHOWN)


def _lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        is_own = (row.get("probe") or moved.HELD_OUT) == moved.HELD_OUT
        if is_own and row["finish_reason"] in moved.MADE:
            found.setdefault(row["policy"], []).append(row["tokens"])
    return found


def _stages(ledger: Ledger, workspace: Workspace, parents: Mapping[str, str]) -> tuple[Stage, ...]:
    ids = {parents[stage]: stage for stage in STAGES if stage in parents}
    rows = {row["checkpoint_id"]: row for row in read.stages(ledger, list(ids))}
    return tuple(
        _stage(rows[found], read.metrics(ledger, found), artifact_path(workspace, found) / CURVES)
        for found in ids
        if found in rows
    )


def _stage(row: Mapping[str, Any], found: Mapping[str, Figure], curves: Path) -> Stage:
    def ends(first: str, last: str) -> tuple[float, float] | None:
        return (found[first].value, found[last].value) if {first, last} <= found.keys() else None

    weights = found.get(WEIGHT_CHANGE)
    return Stage(
        stage=row["stage"],
        checkpoint_id=row["checkpoint_id"],
        dataset_id=row["dataset_id"],
        rows=row["row_count"],
        steps=int(found["steps"].value) if "steps" in found else None,
        seconds=row["duration_s"],
        loss=ends("loss_first", "loss_last"),
        held_out=ends("eval_loss_first", "eval_loss"),
        score=ends("reward_first", "reward_last"),
        has_changed=weights is None or weights.value != 0,
        curves=read_curves(curves),
    )


def read_curves(path: Path) -> dict[str, Curve]:
    """The curves worth drawing in a metrics.jsonl: {measure: [(step, value), ...]}, none empty.

    A line that cannot be read is passed over (the file may end in the middle of one), and so is a
    missing file.
    """
    curves: dict[str, Curve] = {}
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        for name in DRAWN:
            if isinstance(row.get(name), int | float):
                curves.setdefault(name, []).append((row["step"], row[name]))
    return {name: curves[name] for name in DRAWN if name in curves}
