"""Checkpoints and evaluations as cached Prefect tasks: the key is ours, and no artifact is
believed unchecked."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from prefect import task
from prefect.context import TaskRunContext
from prefect.runtime import task_run

from flows.plan.answers import adapter_of
from flows.plan.history import History
from flows.plan.needs import Need, Needs, ids
from flows.plan.sizes import too_few
from flows.plan.steps import STAGES, Step
from flows.run import progress
from flows.run.results import timed
from flows.run.session import Session
from flows.run.stage_rows import write_rows
from flows.run.tracking import Training, followed
from flows.run.workers import hearer
from storage.artifacts import artifact_path, check, is_whole, writing
from storage.errors import SolonError
from storage.ids import short
from storage.ledger import insert, now, rows
from tasks.process import run_job
from tasks.training.keys import changes
from tasks.training.settings import WEIGHT_CHANGE

RESULT = "result.json"
FIRST_MADE = "SELECT run_id, constitution_id, created_at FROM checkpoints WHERE checkpoint_id = ?"
COUNTS = ("steps", "trainable_parameters", "peak_memory")  # of a result, kept with its metrics

Produce = Callable[[Path], dict[str, Any]]  # fills an artifact; returns what to keep as RESULT


def _cache_key(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    """The stage and the artifact's id: Prefect's own key knows neither code nor files."""
    return f"{inputs['stage']}-{inputs['artifact_id']}"


def _name() -> str:
    """What people see of a task: its stage, and the artifact's id in short."""
    asked = task_run.parameters
    return f"{asked['stage']} {short(asked['artifact_id'])}"


@task(
    name="stage",
    task_run_name=_name,
    cache_key_fn=_cache_key,
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
def make(stage: str, artifact_id: str, work: Callable[[], None]) -> dict[str, Any]:
    """Do the work of `_make`, into which Prefect does not look."""
    work()
    return {"id": artifact_id, "stage": stage}


def _make(session: Session, need: Need, produce: Produce) -> None:
    """Make an artifact, where it is not whole; tell the ledger, where it does not know it.

    A run that was killed between the two left a whole artifact, which is taken over as it is.
    """
    was_known = is_known(session, need)
    is_made = not is_whole(_path(session, need)) and _fill(session, need, produce)
    if is_made or not was_known:
        _record(session, need, is_made, was_known)
    shutil.rmtree(session.workspace.state / need.id, ignore_errors=True)


def _fill(session: Session, need: Need, produce: Produce) -> bool:
    """Fill the artifact, the device held; False where another run did while this one waited."""
    workers = session.workers
    workers.end_engine()
    workers.hold_device()
    started = time.monotonic()  # what waited for the device is no part of what it took
    try:
        if is_whole(_path(session, need)):
            return False
        for parent in need.parents.values():
            check(artifact_path(session.workspace, parent))
        with writing(session.workspace, need.id, components=need.parts) as out:
            result = produce(out) | {"duration_s": round(time.monotonic() - started, 3)}
            (out / RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")
    finally:
        workers.release()
    return True


def ensure(session: Session, need: Need, produce: Produce) -> bool:
    """Have the artifact made where it is missing or broken; whether it was whole."""
    stage, results, work = need.step, session.results, partial(_make, session, need, produce)
    result = results.of(stage)
    with timed(result):
        known, whole = is_known(session, need), is_whole(_path(session, need))
        if known and whole:
            results.decide(stage, need.id, "HIT")
            make(stage, need.id, work)
        else:
            before = History(session.ledger).latest_components(stage)
            why = changes(before, need.parts) if before else []
            results.decide(stage, need.id, "REPAIRED" if known or whole else "MISS", why=why)
            make.with_options(refresh_cache=True)(stage, need.id, work)
        metrics = _result_of(session, need).get("metrics", {})
        result.rows, result.note = learned_from(need, metrics), not_learned(need, metrics)
        result.trained = int(not whole and not result.note)
        result.id = need.id
        results.point(stage, need.id)
    return whole


def train(session: Session, needs: Needs) -> dict[str, str]:
    """The checkpoints that are needed, made where they are missing; returns their ids by stage."""
    for need, following in zip_longest(needs.values(), list(needs)[1:]):
        is_there = ensure(session, need, partial(_train, session, need, following))
        session.results.of(need.step).reused = int(is_there)
    return ids(needs)


def reuse(session: Session, needs: Needs) -> dict[str, str]:
    """The checkpoints that are needed, by stage. Raises SolonError where one is not there."""
    for stage, need in needs.items():
        if not (is_known(session, need) and is_whole(_path(session, need))):
            raise SolonError(
                f"{stage}: this recipe's checkpoint is not trained: run `solon train` first"
            )
        result = session.results.of(stage)
        result.reused, result.id = 1, need.id
    return ids(needs)


def _train(session: Session, need: Need, following: Step | None, out: Path) -> dict[str, Any]:
    """Run the stage's job in a worker, while the libraries of the following stage load."""
    workers, stage = session.workers, need.step
    warm = workers.warm_worker(stage)
    spec = _spec(session, need, out)
    if following:
        workers.warm_up(following)
    log, recipe, root = workers.log(stage), session.recipe, session.workspace.root
    training = Training(recipe.name, session.run_id, stage, need.id, log.parent, root)
    with followed(recipe.track, training, hearer(stage)) as hear:
        return run_job(spec, log, hear, warm)


def is_known(session: Session, need: Need) -> bool:
    return History(session.ledger).has(need.id)


def _path(session: Session, need: Need) -> Path:
    return artifact_path(session.workspace, need.id)


def _spec(session: Session, need: Need, out: Path) -> dict[str, Any]:
    """The worker's job description; its rows are written beside the run's logs."""
    state, recipe = session.workspace.state / need.id, session.recipe
    state.mkdir(parents=True, exist_ok=True)
    data = write_rows(session.ledger, need, session.workers.log(need.step).parent)
    return {
        "job": need.step,
        "out": str(out),
        "state": str(state),
        "model": {
            "path": str(session.workers.model.path),
            "name": recipe.model,
            "quantization": recipe.quantization,
            "compute": recipe.compute,
            "chat": asdict(recipe.generation.manner),
        },
        "adapters": {
            role: str(adapter_of(session.workspace, parent))
            for role, parent in need.parents.items()
        },
        "data": data,
        "settings": dict(need.settings),
        "checks": need.parts.get("checks", []),
        "seed": recipe.seed,
        "threads": recipe.threads,
    }


def _result_of(session: Session, need: Need) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_path(session, need) / RESULT).read_text(encoding="utf-8"))
    return found


def _record(session: Session, need: Need, is_made: bool = True, was_known: bool = False) -> None:
    """Tell the ledger of an artifact: the checkpoint and its metrics.

    Run and constitution are those of the first making: a run that waited for another's writes
    nothing over them, nor does one that repairs (`was_known`).
    """
    result = _result_of(session, need)
    counts = {name: result[name] for name in COUNTS if name in result}
    metrics = result.get("metrics", {}) | counts
    values = [
        {"subject_id": need.id, "name": name, "step": -1, "value": float(value)}
        for name, value in metrics.items()
        if isinstance(value, int | float)
    ]
    row = {
        "checkpoint_id": need.id,
        "base_model_id": need.parts["base_model"],
        "dataset_id": need.parts["dataset"],
        "constitution_id": session.inputs.constitution_id,
        "run_id": session.run_id,
        "parent_ids": list(need.parents.values()),
        "parent_roles": list(need.parents),
        "stage": need.step,
        "components": json.dumps(need.parts, sort_keys=True),
        "path": str(_path(session, need).relative_to(session.workspace.root)),
        "duration_s": result["duration_s"],
        "device": result.get("device"),
        "dtype": result.get("dtype"),
        "created_at": now(),
    }
    with session.ledger.transaction() as con:
        if was_known:
            row |= rows(con, FIRST_MADE, [need.id])[0]
        insert(con, "checkpoints", [row], replace=is_made)
        insert(con, "metrics", values, replace=is_made)
    if need.step in STAGES:
        progress.current().finish(not_learned(need, metrics) or _summary(metrics))


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


def not_learned(need: Need, metrics: Mapping[str, Any]) -> str:
    """Why a stage is not said to be trained; empty where it is, and of an evaluation."""
    if need.step in STAGES and metrics.get(WEIGHT_CHANGE) == 0:
        return "no weight changed"
    return too_few(learned_from(need, metrics)) if need.step in STAGES else ""


def learned_from(need: Need, metrics: Mapping[str, Any]) -> int:
    """The rows that a stage was trained on, as far as it says: some may have been too long."""
    return int(metrics.get("examples", len(need.snapshot.training)))


def _summary(metrics: dict[str, Any]) -> str:
    found = learned(metrics)
    return "done" if found is None else f"{found[0]} {found[1]:.3f} -> {found[2]:.3f}"
