"""From the ledger's rows and an evaluation's artifacts to a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from constitution.load import from_body
from constitution.schema import Principle
from flows.explain.document.write import put
from flows.explain.run_report import moved, read, trust
from flows.explain.run_report.describe import document
from flows.explain.run_report.evidence import Evidence
from flows.explain.run_report.facts import Curve, Figure, Stage
from flows.explain.run_report.moved import Question
from flows.explain.run_report.report import RunReport
from flows.explain.run_report.subject import Subject, of
from flows.explain.run_report.verdict import cautions, sentences
from flows.plan.sizes import LEAST_ROWS, too_few
from flows.plan.steps import STAGES
from storage.artifacts import MANIFEST, artifact_path, is_whole
from storage.errors import SolonError
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.evaluation.rows import HELD_OUT, read_answers
from tasks.evaluation.verdict import equal_sentences
from tasks.training.settings import WEIGHT_CHANGE

CURVES = "metrics.jsonl"
DRAWN = ("loss", "eval_loss", "objective/scores", "objective/kl")
SHOWN = 6


def write_report(
    ledger: Ledger, workspace: Workspace, run_id: str, evaluation_id: str | None
) -> Path:
    """Write a run's report where the workspace has its reports; returns the page's path."""
    report = build(ledger, workspace, of(ledger, run_id, evaluation_id))
    return put(workspace.reports / report.about.id, document(report), report.to_json())


def _answers(folder: Path) -> list[dict[str, Any]]:
    """The answers of an evaluation. Raises SolonError where they are not what was written."""
    if (folder / MANIFEST).exists() and not is_whole(folder):
        fix = "run the recipe that made it: it is mended"
        raise SolonError(f"{folder}: the evaluation's files are damaged; {fix}")
    return read_answers(folder)


def build(ledger: Ledger, workspace: Workspace, subject: Subject) -> RunReport:
    """The report on what `read.subject` found."""
    is_measured = subject.evaluation is not None
    rows = _answers(artifact_path(workspace, subject.id)) if is_measured else []
    asked = moved.questions(rows, _principles(subject.body))
    checkpoints = read.checkpoints(ledger, subject)
    stages = _stages(ledger, workspace, checkpoints)
    trained_on = next((s.dataset_id for s in stages if s.stage in ("dpo", "reward")), None)
    data = read.data(ledger, trained_on, subject.run_id)
    card, bins = read.judge(ledger, subject.run_id, read.run_of(ledger, data.dataset_id))
    settings = read.settings(subject.run)
    candidate = settings.get("gate.candidate", "ppo")
    found = _evidence(ledger, subject, asked, stages, card, candidate)
    return RunReport(
        about=subject.about(settings),
        said=_said(found, rows) if is_measured else (_unmeasured(stages, data.said),),
        cautions=cautions(found, stages),
        evidence=found,
        checkpoints=checkpoints,
        judge=card,
        reliability=bins,
        gains=moved.extremes(asked, 1),
        regressions=moved.extremes(asked, -1),
        shown=moved.shown(asked, _count(settings)),
        lengths=_lengths(rows),
        stages=stages,
        data=data,
        left_out=read.left_out(ledger, subject.run_id),
        standard=read.standard(ledger, subject, checkpoints, settings),
        settings=settings,
    )


def _evidence(
    ledger: Ledger,
    subject: Subject,
    asked: Sequence[Question],
    stages: Sequence[Stage],
    card: Mapping[str, Figure],
    candidate: str,
) -> Evidence:
    figures = read.figures(read.metrics(ledger, subject.id)) if subject.evaluation else {}
    gates = read.gates(ledger, subject.id) if subject.evaluation else ()
    reward = next((stage for stage in stages if stage.stage == "reward"), None)
    measured = read.metrics(ledger, reward.checkpoint_id) if reward else None
    return Evidence(
        policies=tuple(figures),
        figures=figures,
        gates=gates,
        gated=read.gate_sentences(ledger, subject.id, gates),
        equal=moved.equal(asked, figures),
        reward_model=trust.of_reward_model(measured, reward.has_changed if reward else True),
        judge=trust.of_judge(card),
        candidate=candidate,
    )


def _said(found: Evidence, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The verdict; then, of policies that do not answer as the base, who answers as its parent."""
    equal = (said for policy, said in equal_sentences(rows).items() if policy not in found.equal)
    return (*sentences(found), *equal)


def _unmeasured(stages: Sequence[Stage], said: Sequence[str]) -> str:
    if stages:
        return "No verdict: nothing was evaluated."
    first = f" {said[0][0].upper()}{said[0][1:]}." if said else ""
    return f"No verdict: nothing was trained.{first}"


def _principles(body: Mapping[str, Any] | None) -> tuple[Principle, ...]:
    return from_body(body).principles if body else ()


def _count(settings: Mapping[str, str]) -> int:
    return int(settings.get("evaluation.shown", SHOWN))


def _lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        if row["probe"] == HELD_OUT and row["finish_reason"] in moved.MADE:
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

    weights, rows = found.get(WEIGHT_CHANGE), row["row_count"]
    has_changed = weights is None or weights.value != 0
    learned_from = int(found["examples"].value) if "examples" in found else rows
    return Stage(
        stage=row["stage"],
        checkpoint_id=row["checkpoint_id"],
        dataset_id=row["dataset_id"],
        rows=rows,
        steps=int(found["steps"].value) if "steps" in found else None,
        seconds=row["duration_s"],
        loss=ends("loss_first", "loss_last"),
        held_out=ends("eval_loss_first", "eval_loss"),
        score=ends("reward_first", "reward_last"),
        has_changed=has_changed,
        not_learned=too_few(learned_from or LEAST_ROWS) if has_changed else "no weight changed",
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
