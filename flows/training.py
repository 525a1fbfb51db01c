"""Stages as cached Prefect tasks: the key is ours, the artifact is checked before it is
believed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from flows import progress
from flows.inputs import Inputs
from flows.keys import parents_of, stage_components
from flows.recipe import Step
from flows.session import Session, timed
from flows.slot import device_slot
from storage.artifacts import artifact_path, is_whole, writing
from storage.errors import SolonError
from storage.ledger import insert, now, point
from tasks.generation.record import Snapshot
from tasks.generation.snapshots import Rows
from tasks.process import run_job
from tasks.training.keys import WITHOUT_EFFECT, changes, checkpoint_id


@dataclass
class StageKey(CachePolicy):
    """The checkpoint's id, with the stage in front: Prefect's own key knows neither code nor
    files."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str:
        return f"{inputs['stage']}-{inputs['artifact_id']}"


class Job:
    """What a stage's task needs besides its id. A plain object: Prefect does not look inside."""

    def __init__(
        self,
        session: Session,
        parts: dict[str, Any],
        parents: dict[str, str],
        data: dict[str, list[dict[str, Any]]],
        extra: dict[str, Any] | None = None,
        next_stage: Step | None = None,
    ) -> None:
        self.session, self.parts, self.parents = session, parts, parents
        self.data, self.extra, self.next_stage = data, extra or {}, next_stage


@task(
    name="stage",
    task_run_name="{stage} {artifact_id}",
    cache_policy=StageKey(),
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
def make(stage: str, artifact_id: str, job: Job) -> dict[str, Any]:
    """Make an artifact in a worker, then tell the ledger. Returns its manifest in short.

    Does nothing where the artifact is there and the ledger knows it (Prefect's memory was lost).
    """
    session, started = job.session, time.monotonic()
    path = artifact_path(session.workspace, artifact_id)
    if is_known(session, artifact_id) and is_whole(path):
        return {"id": artifact_id, "stage": stage}
    session.close_engine()
    warm = session.warm_worker(stage)
    with device_slot(session), writing(session.workspace, artifact_id, components=job.parts) as out:
        spec = _spec(stage, artifact_id, job, out)
        if job.next_stage:
            session.warm_up(job.next_stage)
        result = run_job(spec, session.log(stage), _listener(stage), warm)
    duration_s = time.monotonic() - started
    _record(session, stage, artifact_id, job, result, duration_s)
    shutil.rmtree(session.workspace.state / artifact_id, ignore_errors=True)
    return {"id": artifact_id, "stage": stage, "metrics": result.get("metrics", {})}


def ensure(session: Session, stage: Step, artifact_id: str, job: Job) -> str:
    """The artifact of that id: reused where it is whole, made where it is missing or broken."""
    result = session.result(stage)
    with timed(result):
        path = artifact_path(session.workspace, artifact_id)
        known, whole = is_known(session, artifact_id), is_whole(path)
        if known and whole:
            session.decide(stage, artifact_id, "HIT")
            result.reused = 1
            make(stage, artifact_id, job)
        else:
            verdict = "REPAIRED" if known else "MISS"
            session.decide(stage, artifact_id, verdict, why=_changes(session, stage, job.parts))
            make.with_options(refresh_cache=True)(stage, artifact_id, job)
            result.trained = 1
        result.id = artifact_id
        point(session.ledger, f"latest/{stage}", artifact_id)
    return artifact_id


def train_stage(
    session: Session,
    stage: Step,
    rows: Rows,
    checkpoints: dict[str, str],
    next_stage: Step | None = None,
) -> str:
    """The checkpoint of one stage, given those before it (by stage)."""
    inputs = session.inputs
    parts = stage_components(inputs, stage, rows, checkpoints)
    parents = parents_of(inputs, stage, checkpoints)
    job = Job(session, parts, parents, _data(inputs, stage, rows), next_stage=next_stage)
    if not job.data["train"]:
        raise SolonError(
            f"{stage}: no rows to train on (all were excluded): raise prompts.limit or"
            " generation.max_new_tokens, or see why with `solon plan`"
        )
    return ensure(session, stage, checkpoint_id(parts), job)


def existing_stage(
    session: Session,
    stage: Step,
    rows: Rows,
    checkpoints: dict[str, str],
    next_stage: Step | None = None,
) -> str:
    """The checkpoint of one stage where it is there. Raises SolonError where it is not."""
    found = checkpoint_id(stage_components(session.inputs, stage, rows, checkpoints))
    if not (is_known(session, found) and is_whole(artifact_path(session.workspace, found))):
        raise SolonError(
            f"{stage}: this recipe's checkpoint is not trained: run `solon train` first"
        )
    result = session.result(stage)
    result.reused, result.id = 1, found
    return found


def is_known(session: Session, artifact_id: str) -> bool:
    sql = "SELECT 1 FROM checkpoints WHERE checkpoint_id = ?"
    return bool(session.ledger.query(sql, [artifact_id]))


def _changes(session: Session, stage: str, parts: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What differs from the newest checkpoint of this stage."""
    found = session.ledger.query(
        "SELECT components FROM checkpoints WHERE stage = ? ORDER BY created_at DESC LIMIT 1",
        [stage],
    )
    return changes(json.loads(found[0]["components"]), parts) if found else []


def _spec(stage: str, artifact_id: str, job: Job, out: Path) -> dict[str, Any]:
    """The worker's job description; its rows are written beside the resumable state."""
    session = job.session
    state = session.workspace.state / artifact_id
    state.mkdir(parents=True, exist_ok=True)
    folder = session.log(stage).parent
    paths = {name: _write_rows(folder / f"{stage}-{name}.jsonl", r) for name, r in job.data.items()}
    adapters = {
        role: str(artifact_path(session.workspace, parent) / "adapter")
        for role, parent in job.parents.items()
    }
    return {
        "job": stage,
        "out": str(out),
        "state": str(state),
        "model": {
            "path": str(session.model.path),
            "name": session.recipe.model,
            "quantization": session.recipe.quantization,
        },
        "adapters": adapters,
        "data": paths,
        "settings": job.parts["settings"] | _without_effect(session, stage),
        "seed": session.recipe.seed,
        "threads": session.recipe.threads,
    } | job.extra


def _without_effect(session: Session, stage: str) -> dict[str, Any]:
    """The settings that are no part of the key (how often to save, how to cut work up)."""
    settings = getattr(session.recipe, stage, {}) if stage != "evaluate" else {}
    return {name: value for name, value in dict(settings).items() if name in WITHOUT_EFFECT}


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(path)


def _listener(stage: str) -> Any:
    """Shows a worker's progress events as they come."""
    bar, started = progress.current(), False

    def hear(event: dict[str, Any]) -> None:
        nonlocal started
        if event["event"] == "progress":
            if not started:
                bar.start(stage, event["total"], event.get("unit", "steps"))
                started = True
            shown = {k: v for k, v in event.items() if isinstance(v, float)}
            bar.update(
                event["done"], event["total"], " ".join(f"{k} {v:.3g}" for k, v in shown.items())
            )
        elif event["event"] == "log":
            bar.say(event["message"])

    return hear


def _record(
    session: Session,
    stage: str,
    artifact_id: str,
    job: Job,
    result: dict[str, Any],
    duration_s: float,
) -> None:
    parts, path = job.parts, artifact_path(session.workspace, artifact_id)
    counts = {k: v for k, v in result.items() if k in ("steps", "trainable_parameters")}
    metrics = result.get("metrics", {}) | counts
    row = {
        "checkpoint_id": artifact_id,
        "base_model_id": parts["base_model"],
        "dataset_id": parts["dataset"],
        "constitution_id": session.inputs.constitution_id,
        "run_id": session.run_id,
        "parent_ids": list(job.parents.values()),
        "parent_roles": list(job.parents),
        "stage": stage,
        "components": json.dumps(parts, sort_keys=True),
        "path": str(path.relative_to(session.workspace.root)),
        "duration_s": round(duration_s, 3),
        "device": result.get("device"),
        "created_at": now(),
    }
    with session.ledger.transaction() as con:
        insert(con, "checkpoints", [row], replace=True)
        insert(con, "metrics", _metric_rows(artifact_id, metrics), replace=True)
    progress.current().finish(_summary(metrics))


def _metric_rows(subject_id: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"subject_id": subject_id, "name": name, "step": -1, "value": float(value)}
        for name, value in metrics.items()
        if isinstance(value, int | float)
    ]


def learned(metrics: dict[str, Any]) -> tuple[str, float, float] | None:
    """What shows whether a stage learned: (name, first, last) of held-out loss or reward."""
    for name, first, last in (
        ("held-out loss", "eval_loss_first", "eval_loss"),
        ("reward", "reward_first", "reward_last"),
        ("loss", "loss_first", "loss_last"),
    ):
        if first in metrics and last in metrics:
            return name, metrics[first], metrics[last]
    return None


def _summary(metrics: dict[str, Any]) -> str:
    found = learned(metrics)
    return "done" if found is None else f"{found[0]} {found[1]:.3f} -> {found[2]:.3f}"


def _data(inputs: Inputs, stage: Step, rows: Rows) -> dict[str, list[dict[str, Any]]]:
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
