"""A run that has nothing to do: its result, and the refs that follow it."""

from __future__ import annotations

from typing import Any

from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from flows.plan.steps import STAGES
from flows.run.killed import end_killed_runs
from flows.run.results import StepResult, run_result
from storage.ledger import Ledger, move
from storage.workspace import Workspace


def nothing_done(made: Plan, inputs: Inputs, workspace: Workspace) -> dict[str, Any]:
    """The result of a run that had nothing to do: the same ids as the run that made them.

    The refs `latest/...` follow it, as they follow every run.
    """
    ledger = Ledger(workspace.ledger)
    end_killed_runs(ledger)
    ids = {name: step.id for name, step in made.steps.items()}
    snapshots = {"sft": made.sft_rows_id, "preferences": ids.get("pairs")}
    targets = {f"{kind}-rows": found for kind, found in snapshots.items()}
    targets |= {step: ids.get(step) for step in (*STAGES, "evaluate")}
    if ids.get("pairs"):
        targets["prompts-rows"] = inputs.prompt_snapshot.dataset_id
    with ledger.transaction() as con:
        for name, target in targets.items():
            if target:
                move(con, f"latest/{name}", target)
    report = workspace.reports / (ids.get("evaluate") or "") / "report.md"
    steps = {
        name: StepResult(name, reused=step.reused, excluded=step.excluded, id=step.id)
        for name, step in made.steps.items()
    }
    found = report if report.is_file() else None
    return run_result(inputs, workspace, None, steps, made.left_out, made.sft_rows_id, found)
