"""Every night: take in what is new, retrain what it reaches, promote what is no worse.

New prompts come in because the file that the recipe names has more rows, edited words because the
constitution's file is read again. With nothing new it ends in seconds.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.events import emit_event

from flows.align import method
from flows.explain.show import plan_markdown
from flows.plan.planner import make_plan
from flows.plan.recipe import Overrides
from flows.run.gate import GATE_FAILED, RESOURCE, conclude
from flows.run.publish import publish_markdown
from flows.run.results import nothing_done
from flows.run.session import open_session
from flows.serve.approval import ask_for
from flows.serve.ending import named, plainly
from flows.serve.reach import check_form
from storage.workspace import Workspace


@flow(name="nightly", flow_run_name=named("nightly"))
@plainly
def nightly(recipe: str = "demo", overrides: Overrides = None) -> dict[str, Any]:
    """Rows for new prompts and words, the training they reach, the gate, and the champion.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as prompts.path=prompts.jsonl.
    """
    check_form(recipe, overrides)
    workspace = Workspace.open().create()
    made, inputs = make_plan(recipe, overrides or {}, None)
    if made.is_empty:
        text = "Nothing new: every row and checkpoint is there."
        publish_markdown("plan", text, "Nothing new", inputs.recipe.name)
        return nothing_done(made, inputs, workspace)
    text = f"# Plan\n\n{plan_markdown(made)}\n"
    publish_markdown(
        "plan", text, "What this night will make and what it costs", inputs.recipe.name
    )
    refused = ask_for(made, inputs)
    if refused is not None:
        return refused  # type: ignore[no-any-return]
    with open_session(recipe, overrides, None) as session:
        result = method(session)  # rows that come out as they were retrain nothing: keys are equal
        result |= conclude(session, result, is_wanted=True)
    if not result["gate"]["passed"]:
        _tell(result, workspace)
    return result


def _tell(result: dict[str, Any], workspace: Workspace) -> None:
    emit_event(
        GATE_FAILED,
        resource={
            "prefect.resource.id": RESOURCE,
            "prefect.resource.name": str(workspace.root),
        },
        payload={
            "run_id": result["run_id"],
            "champion": result["champion"],
            **result["gate"],
        },
    )
