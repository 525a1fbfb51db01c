"""From a command to its result: plan first; with nothing to do, start neither server nor flow."""

from __future__ import annotations

import gc
import importlib
import os
from typing import Any

import typer
from rich.console import Console

from flows import recipe as recipes
from flows.inputs import Inputs, check_held_out, count_exclusions, read_inputs
from flows.killed import end_killed_runs
from flows.plan import Plan, Planner
from flows.steps import STAGES, Step
from storage.ledger import Ledger, point
from storage.workspace import Workspace

MODULES = {
    "preview": "flows.trials",
    "ablate": "flows.trials",
    "amend": "flows.amend",
    "nightly": "flows.nightly",
}


def run_flow(
    flow: str, parameters: dict[str, Any], workspace: Workspace, console: Console
) -> dict[str, Any]:
    """Start a server for the time of the run, then the flow in this process."""
    from flows import progress, server
    from flows.console import BarProgress

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    workspace.create()
    bar = BarProgress(console)
    progress.use(bar)
    with server.running(workspace):
        module = importlib.import_module(MODULES.get(flow, "flows.align"))
        try:
            return dict(getattr(module, flow)(**parameters))
        except KeyboardInterrupt:
            bar.close()
            bar.say("stopped: what was committed is kept, the next run goes on from it")
            raise typer.Exit(130) from None
        finally:
            bar.close()


def _collect_less() -> None:
    """Look for cycles less often: rows make none, and the walk keeps hundreds of thousands.

    Measured over 10,000 prompts: an eighth more prompts a second, the same peak memory.
    """
    gc.set_threshold(100_000, 50, 50)


def nothing_done(made: Plan, inputs: Inputs, workspace: Workspace) -> dict[str, Any]:
    """The result of a run that had nothing to do: the same ids as the run that made them.

    The refs `latest/...` follow it, as they follow every run.
    """
    ledger = Ledger(workspace.ledger)
    end_killed_runs(ledger)
    ids = {name: step.id for name, step in made.steps.items()}
    snapshots = {"sft": made.sft_rows_id, "preferences": ids.get("pairs")}
    followed = snapshots | {"prompts": ids.get("pairs") and inputs.prompt_snapshot.dataset_id}
    _follow(ledger, ids, followed)
    report = workspace.reports / (ids.get("evaluate") or "") / "report.md"
    names = ("step", "reused", "excluded", "id")
    steps = [
        {"generated": 0, "trained": 0, "duration_s": 0.0} | {n: getattr(step, n) for n in names}
        for step in made.steps.values()
    ]
    return {
        "run_id": None,
        "recipe": inputs.recipe.name,
        "workspace": str(workspace.root),
        "steps": steps,
        "exclusions": count_exclusions(inputs.exclusions, made.left_out),
        "snapshots": snapshots,
        "checkpoints": {stage: ids.get(stage) for stage in STAGES},
        "report": str(report) if report.is_file() else None,
    }


def _follow(ledger: Ledger, ids: dict[str, str | None], snapshots: dict[str, str | None]) -> None:
    targets = {f"latest/{kind}-rows": found for kind, found in snapshots.items()}
    targets |= {f"latest/{step}": ids.get(step) for step in (*STAGES, "evaluate")}
    known = {row["name"]: row["target_id"] for row in ledger.query("SELECT * FROM refs")}
    for name, target in targets.items():
        if target and known.get(name) != target:
            point(ledger, name, target)


def inputs_of(recipe: str, overrides: dict[str, Any]) -> tuple[Inputs, Workspace, Ledger]:
    """What a run of this recipe would read, checked."""
    _collect_less()
    workspace = Workspace.open()
    ledger = Ledger(workspace.ledger)
    return read_inputs(recipes.load(recipe, overrides), workspace, ledger), workspace, ledger


def make_plan(recipe: str, overrides: dict[str, Any], until: Step | None) -> tuple[Plan, Inputs]:
    inputs, workspace, ledger = inputs_of(recipe, overrides)
    check_held_out(inputs, until)
    return Planner(inputs, workspace, ledger).make(until), inputs
