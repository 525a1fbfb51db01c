"""Stages as cached Prefect tasks: the key is ours, and no artifact is believed unchecked."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from flows.plan.history import History
from flows.plan.keys import parents_of, stage_components, stage_snapshot
from flows.plan.steps import Step
from flows.run import progress
from flows.run.session import Session, hearer, timed
from flows.run.slot import device_slot
from flows.run.stage_rows import WriteData, snapshot_rows
from storage.artifacts import artifact_path, check, is_whole, writing
from storage.errors import SolonError
from storage.ledger import insert, now
from tasks.generation.snapshots import Rows
from tasks.process import run_job
from tasks.training.keys import WITHOUT_EFFECT, changes, checkpoint_id
from tasks.training.settings import WEIGHT_CHANGE


@dataclass
class StageKey(CachePolicy):
    """The stage and the artifact's id: Prefect's own key knows neither code nor files."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str:
        return f"{inputs['stage']}-{inputs['artifact_id']}"


RESULT = "result.json"


class Job:
    """What a stage's task needs besides its id. A plain object: Prefect does not look inside."""

    def __init__(
        self,
        session: Session,
        parts: dict[str, Any],
        parents: dict[str, str],
        write_data: WriteData,
        extra: dict[str, Any] | None = None,
        next_stage: Step | None = None,
    ) -> None:
        self.session, self.parts, self.parents = session, parts, parents
        self.write_data, self.extra, self.next_stage = write_data, extra or {}, next_stage


@task(
    name="stage",
    task_run_name="{stage} {artifact_id}",
    cache_policy=StageKey(),
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
def make(stage: str, artifact_id: str, job: Job) -> dict[str, Any]:
    """Make an artifact, where it is not whole; tell the ledger, where it does not know it.

    A run that was killed between the two left a whole artifact, which is taken over as it is.
    """
    session = job.session
    path = artifact_path(session.workspace, artifact_id)
    is_made = not is_whole(path)
    if is_made:
        _produce(stage, artifact_id, job)
    if is_made or not is_known(session, artifact_id):
        _record(session, stage, artifact_id, job)
    shutil.rmtree(session.workspace.state / artifact_id, ignore_errors=True)
    return {"id": artifact_id, "stage": stage}


def _produce(stage: str, artifact_id: str, job: Job) -> None:
    """Run the stage's job in a worker, the device held, and keep its result in the artifact."""
    session = job.session
    session.close_engine()
    with device_slot(session.workspace, session.run_id):
        if not is_whole(artifact_path(session.workspace, artifact_id)):  # another run's, meanwhile
            _run_in_worker(stage, artifact_id, job)


def _run_in_worker(stage: str, artifact_id: str, job: Job) -> None:
    session, started = job.session, time.monotonic()
    for parent in job.parents.values():
        check(artifact_path(session.workspace, parent))
    warm = session.warm_worker(stage)
    with writing(session.workspace, artifact_id, components=job.parts) as out:
        spec = _spec(stage, artifact_id, job, out)
        if job.next_stage:
            session.warm_up(job.next_stage)
        result = run_job(spec, session.log(stage), hearer(stage), warm)
        result["duration_s"] = round(time.monotonic() - started, 3)
        (out / RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")


def ensure(session: Session, stage: Step, artifact_id: str, job: Job) -> str:
    """The artifact of that id: reused where it is whole, made where it is missing or broken."""
    result = session.result(stage)
    with timed(result):
        path = artifact_path(session.workspace, artifact_id)
        known, whole = is_known(session, artifact_id), is_whole(path)
        if known and whole:
            session.decide(stage, artifact_id, "HIT")
            make(stage, artifact_id, job)
        else:
            verdict = "REPAIRED" if known or whole else "MISS"
            session.decide(stage, artifact_id, verdict, why=_changes(session, stage, job.parts))
            make.with_options(refresh_cache=True)(stage, artifact_id, job)
        result.reused = int(whole)
        result.trained = int(not whole and has_changed(_metrics_of(session, artifact_id)))
        result.id = artifact_id
        session.point(stage, artifact_id)
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
    data = snapshot_rows(session.ledger, stage, parts["dataset"])
    job = Job(session, parts, parents, data, next_stage=next_stage)
    if not stage_snapshot(inputs, stage, rows).training:
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
    """What differs from the checkpoint of this stage in use."""
    before = History(session.ledger).latest_components(stage)
    return changes(before, parts) if before else []


def _spec(stage: str, artifact_id: str, job: Job, out: Path) -> dict[str, Any]:
    """The worker's job description; its rows are written beside the resumable state."""
    session = job.session
    state = session.workspace.state / artifact_id
    state.mkdir(parents=True, exist_ok=True)
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
            "compute": session.recipe.compute,
        },
        "adapters": adapters,
        "data": job.write_data(session.log(stage).parent, stage),
        "settings": job.parts["settings"] | _without_effect(session, stage),
        "seed": session.recipe.seed,
        "threads": session.recipe.threads,
    } | job.extra


def _without_effect(session: Session, stage: str) -> dict[str, Any]:
    """The settings that are no part of the key (how often to save, how to cut work up)."""
    settings = getattr(session.recipe, stage, {}) if stage != "evaluate" else {}
    return {name: value for name, value in dict(settings).items() if name in WITHOUT_EFFECT}


def _result_of(session: Session, artifact_id: str) -> dict[str, Any]:
    """What the job of an artifact returned."""
    path = artifact_path(session.workspace, artifact_id) / RESULT
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _metrics_of(session: Session, artifact_id: str) -> dict[str, Any]:
    found: dict[str, Any] = _result_of(session, artifact_id).get("metrics", {})
    return found


def _record(session: Session, stage: str, artifact_id: str, job: Job) -> None:
    """Tell the ledger of an artifact: the checkpoint and its metrics."""
    parts, path = job.parts, artifact_path(session.workspace, artifact_id)
    result = _result_of(session, artifact_id)
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
        "duration_s": result["duration_s"],
        "device": result.get("device"),
        "dtype": result.get("dtype"),
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


def has_changed(metrics: Mapping[str, Any]) -> bool:
    """Whether a training changed a weight; of one that does not say, and of an evaluation, yes."""
    return bool(metrics.get(WEIGHT_CHANGE) != 0)


def _summary(metrics: dict[str, Any]) -> str:
    if not has_changed(metrics):
        return "no weight changed"
    found = learned(metrics)
    return "done" if found is None else f"{found[0]} {found[1]:.3f} -> {found[2]:.3f}"
