"""Evaluation of every checkpoint on the held-out prompts, and the report of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan.answers import BASE, POLICIES, REWARD, answer_calls, answer_count, policies_of
from flows.plan.inputs import count_exclusions
from flows.plan.needs import Need, evaluation_need
from flows.plan.steps import STAGES
from flows.run.ask import Asker
from flows.run.policies import record_policies
from flows.run.session import Session
from flows.run.stages import ensure, has_changed, learned
from flows.run.verdicts import judge_policies
from storage.artifacts import artifact_path
from storage.ledger import insert
from tasks.evaluation.answers import REFERENCE, Answered, Policy, row_of, wanted_scores
from tasks.evaluation.metrics import rules, summarise
from tasks.evaluation.report import ReportData, StageResult, write_report
from tasks.generation.record import record_snapshot
from tasks.generation.snapshots import Rows
from tasks.model_files import Digests

ANSWERS = "answers.jsonl"


def evaluate_checkpoints(session: Session, checkpoints: dict[str, str]) -> str:
    """Base, SFT, DPO and PPO answer the held-out prompts; returns the evaluation's id."""
    need = evaluation_need(session.inputs, checkpoints)
    record_snapshot(session.ledger, session.run_id, need.snapshot)
    if ensure(session, need, partial(_evaluate, session, need)):
        session.results.of("evaluate").reused += answer_count(session.inputs)
    _record_metrics(session, need.id)
    judge_policies(session.ledger, need.id, session.recipe.gate)
    return need.id


def _evaluate(session: Session, need: Need, out: Path) -> dict[str, Any]:
    """Have every policy's answers made and scored, as far as the ledger has not got them."""
    digests = Digests(session.workspace)
    policies = policies_of(session.inputs, session.workspace, need.parents, digests)
    digests.save()
    record_policies(session, policies.values())
    asker = Asker(session, "evaluate", lambda: session.workers.evaluator(list(policies.values())))
    answered = [
        found for name in (BASE, *POLICIES) for found in _answered(session, asker, policies[name])
    ]
    judges = policies[REFERENCE], policies[REWARD]
    scores = asker.score("scores of the answers", list(wanted_scores(answered, *judges)))
    found = [row_of(made, *judges, lambda wanted: scores[wanted.key]) for made in answered]
    with (out / ANSWERS).open("w", encoding="utf-8") as stream:
        for row in found:
            stream.write(json.dumps(row) + "\n")  # ASCII: no odd line end in a text ends a row
    _record_answers(session, need.id, answered)
    engine = asker.engine()
    return {"answers": len(found), "device": engine.device or None, "dtype": engine.dtype or None}


def _answered(session: Session, asker: Asker, policy: Policy) -> list[Answered]:
    """A policy's answers to the held-out prompts, in their order."""
    calls = answer_calls(session.inputs, policy)
    answers = asker.ask(f"answers of {policy.name}", calls)
    return [
        Answered(policy, prompt, call, answers[call.completion_id])
        for prompt, call in zip(session.inputs.evaluation_prompts, calls, strict=True)
    ]


def _record_answers(session: Session, evaluation_id: str, answered: list[Answered]) -> None:
    values = [
        {
            "evaluation_id": evaluation_id,
            "policy": found.policy.name,
            "completion_id": found.answer.completion_id,
            "cut_at": found.answer.cut_at,
        }
        for found in answered
    ]
    with session.ledger.transaction() as con:
        insert(con, "answers", values)


def answers_of(session: Session, evaluation_id: str) -> list[dict[str, Any]]:
    """What every policy answered: rows of answers.jsonl."""
    path = artifact_path(session.workspace, evaluation_id) / ANSWERS
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
    return summarise(answers, rules(session.inputs.constitution), session.recipe.seed)


def report(
    session: Session, rows: Rows, checkpoints: Mapping[str, str], evaluation_id: str | None
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
            **{
                name: step.reused + step.generated
                for name, step in session.results.steps.items()
                if name in ("revisions", "samples", "comparisons")
            },
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
        is_reused=bool(session.results.of(stage).reused),
        rows=rows[0]["row_count"] if rows else 0,
        steps=int(metrics.get("steps", 0)),
        loss_first=metrics.get("loss_first"),
        loss_last=metrics.get("loss_last"),
        metrics_path=artifact_path(session.workspace, found) / "metrics.jsonl",
        measure=learned(metrics),
        has_changed=has_changed(metrics),
    )
