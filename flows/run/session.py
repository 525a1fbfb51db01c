"""A run from its checked inputs to its end, in the ledger, and what its steps share."""

from __future__ import annotations

import os
import platform
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prefect.runtime import flow_run

from flows.plan.constitutions import keep_constitution
from flows.plan.input_checks import check_inputs
from flows.plan.inputs import Inputs
from flows.plan.model_checks import check_models
from flows.plan.parts import ServerSettings
from flows.plan.read_inputs import read_inputs
from flows.plan.recipe import Overrides, Recipe, load
from flows.plan.steps import Step
from flows.run.killed import end_killed_runs
from flows.run.results import Results
from flows.run.servers import ask_servers
from flows.run.workers import Workers, prepare_model
from storage.code import ROOT
from storage.ledger import Ledger, insert, now, now_after, rows
from storage.workspace import Workspace
from tasks.generation.record import record_exclusions, record_model
from tasks.machine import machine_name
from tasks.model_files import clear_drafts


@dataclass
class Session:
    """One run: what it is made of, what it did so far, and the processes that do it."""

    inputs: Inputs
    workspace: Workspace
    ledger: Ledger
    run_id: str
    results: Results = field(init=False)
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        self.results = Results(self.ledger, self.run_id)
        self.workers = Workers(self.inputs, self.workspace, self.ledger, self.run_id)

    @property
    def recipe(self) -> Recipe:
        return self.inputs.recipe


@contextmanager
def open_session(recipe: str, overrides: Overrides, until: Step | None) -> Iterator[Session]:
    """Check the inputs, then open a run in the ledger and close it as it ends, however it ends."""
    chosen, workspace = load(recipe, overrides), Workspace.open()
    run_id = f"run_{uuid.uuid4().hex}"
    ledger = Ledger(workspace.ledger, holder=run_id, recipe=chosen.name)
    inputs = read_inputs(chosen, workspace, ledger)
    workspace.create()
    if inputs.model.model_id is None:
        prepare_model(chosen.model, workspace, ledger)
        inputs = read_inputs(chosen, workspace, ledger)
    if unknown := [hand.source for hand in inputs.asked if not hand.is_known]:
        for source in unknown:
            _get_to_know(source, workspace, ledger)
        inputs = read_inputs(chosen, workspace, ledger)
    check_inputs(inputs, until)
    check_models(inputs, until)
    end_killed_runs(ledger)
    clear_drafts(workspace)
    _record_inputs(ledger, inputs, run_id, until)
    session = Session(inputs, workspace, ledger, run_id)
    try:
        yield session
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt)
        why = "stopped by Ctrl-C" if is_stopped else " ".join(str(error).split())[:500]
        _end(ledger, run_id, "failed", why or type(error).__name__)
        raise
    else:
        _end(ledger, run_id, "completed", None)
    finally:
        session.workers.close()


def _get_to_know(source: str | ServerSettings | None, workspace: Workspace, ledger: Ledger) -> None:
    """Download a model, or ask servers who they are."""
    if isinstance(source, ServerSettings):
        ask_servers(source, workspace)
    elif source:
        prepare_model(source, workspace, ledger)


def _record_inputs(ledger: Ledger, inputs: Inputs, run_id: str, until: Step | None) -> None:
    recipe, flow_run_id = inputs.recipe, flow_run.get_id()
    constitution_id = keep_constitution(ledger, inputs.constitution, inputs.constitution_path)
    run = {
        "run_id": run_id,
        "constitution_id": constitution_id,
        "flow_run_id": str(flow_run_id) if flow_run_id else None,
        "recipe": recipe.name,
        "settings": recipe.model_dump_json(),
        "until": until,
        "git_commit": _git_commit(),
        "host": platform.node(),
        "machine": machine_name(),
        "pid": os.getpid(),
        "state": "running",
        "message": None,
        "ended_at": None,
    }
    with ledger.transaction() as con:
        last = rows(con, "SELECT max(started_at) AS last FROM runs")[0]["last"]
        insert(con, "runs", [run | {"started_at": now_after(last)}])
    _record_models(ledger, inputs)
    record_exclusions(ledger, run_id, inputs.left_out)


def _record_models(ledger: Ledger, inputs: Inputs) -> None:
    """Keep the base that is trained and, where they are others, the models that are asked."""
    model, recipe = inputs.model, inputs.recipe
    if model.base_model_id is None:
        record_model(ledger, inputs.base_model_id, model.kind, recipe.model)
    for hand in inputs.asked:
        if hand.model_id != inputs.base_model_id:
            info = hand.info
            made_of = (info.base_model_id, info.checkpoint_id) if info else (None, None)
            record_model(ledger, hand.model_id, hand.kind, hand.reference, *made_of)


def _end(ledger: Ledger, run_id: str, state: str, message: str | None) -> None:
    with ledger.transaction() as con:
        con.execute(
            "UPDATE runs SET state = ?, message = ?, ended_at = ? WHERE run_id = ?",
            [state, message, now(), run_id],
        )


def _git_commit() -> str | None:
    """The code's commit, `-dirty` where tracked files have changes; None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
