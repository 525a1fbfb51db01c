"""Ask a person before a run spends: the plan is shown, the answer is kept in `approvals`.

A run of a deployment is suspended: its process ends. Once resumed, a worker starts the flow from
its top: what was made is reused, and the answer is read instead of asked for. Any other run can
only be paused: its process stays and looks for the answer every few seconds. Neither may hold the
device or an open run of the ledger.
"""

from __future__ import annotations

import json
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from flows.explain.show import plan_markdown
from flows.plan.inputs import Inputs
from flows.plan.parts import BudgetSettings
from flows.plan.plan import Plan
from flows.plan.planner import make_plan
from flows.plan.recipe import load
from flows.plan.steps import Step
from flows.serve.forms import Decision
from storage.errors import SolonError
from storage.ledger import Ledger, insert, now
from storage.person import person
from storage.workspace import Workspace
from tasks.evaluation.escape import markdown_cell

WAIT_HOURS = 168
POLL_S = 3
KEY = "approval"
MAX_DESCRIPTION_CHARS = 20_000
WHERE = (
    "read the plan in this run's artifacts, then choose Resume in the run's menu (three dots, top"
    " right), fill in the form below the plan and press Resume"
)
HOW = (
    "**The run waits for your answer.** Read the plan, then fill in the form below it: with"
    " *Approve* on the button *Resume* goes on, with it off *Resume* ends the run.\n\n"
)
CUT = "\n\nThe rest is in the artifact `plan` of this run.\n"


def ask(
    ledger: Ledger,
    constitution_id: str,
    plan: Plan,
    description_markdown: str,
    wait_hours: int = WAIT_HOURS,
    run_id: str | None = None,
) -> Decision:
    """Show the plan, wait for the answer, keep it. Raises SolonError where none comes in time.

    What is returned is what holds: an approval whose limit is below the plan's most calls is none.
    """
    approval_id = f"apr_{str(flow_run.get_id()).replace('-', '')}"
    row = {
        "approval_id": approval_id,
        "run_id": run_id,
        "flow_run_id": str(flow_run.get_id()),
        "constitution_id": constitution_id,
        "plan": json.dumps(plan.to_json()),
        "asked_at": now(),
    }
    with ledger.transaction() as con:
        # None is made where it was kept before a restart: that one was shown.
        is_new = insert(con, "approvals", [row]) > 0
    if is_new:
        get_run_logger().warning("waits for your answer, for %s hours: %s", wait_hours, WHERE)
    sql = "SELECT plan FROM approvals WHERE approval_id = ?"
    shown = json.loads(ledger.query(sql, [approval_id])[0]["plan"])
    given = _within_limit(_answer(description_markdown, wait_hours), shown["cost"])
    with ledger.transaction() as con:
        con.execute(
            "UPDATE approvals SET decided_by = ?, note = ?, limit_calls = ?, is_approved = ?,"
            " decided_at = coalesce(decided_at, ?) WHERE approval_id = ?",
            [given.by, given.note, given.limit_calls, given.approve, now(), approval_id],
        )
    return given


def _answer(description_markdown: str, wait_hours: int) -> Decision:
    if len(description_markdown) > MAX_DESCRIPTION_CHARS:
        whole_lines = description_markdown[:MAX_DESCRIPTION_CHARS].rpartition("\n")[0]
        description_markdown = whole_lines + CUT
    form = Decision.with_initial_data(description=HOW + description_markdown, by=person())
    wait_s = wait_hours * 3600
    try:
        if deployment.get_id():
            return suspend_flow_run(wait_for_input=form, timeout=wait_s, key=KEY)
        return pause_flow_run(wait_for_input=form, timeout=wait_s, poll_interval=POLL_S, key=KEY)
    except FlowPauseTimeout as error:
        raise SolonError(f"nobody answered within {wait_hours} hours: start again") from error


def _within_limit(decision: Decision, cost: dict[str, Any]) -> Decision:
    """The decision, refused where its limit is below the most calls that the plan foresees."""
    limit, most = decision.limit_calls, cost["calls"][1]
    if not decision.approve or limit is None or most <= limit:
        return decision
    why = f"the plan may need {most} calls, the limit is {limit}"
    note = f"{decision.note} ({why})" if decision.note else why
    return decision.model_copy(update={"approve": False, "note": note})


def rejected(decision: Decision) -> Any:
    """What a flow returns whose plan was refused: it is complete, and named Rejected."""
    result = {"state": "rejected", "by": decision.by, "note": decision.note}
    message = f"refused by {decision.by}" + (f": {decision.note}" if decision.note else "")
    return Completed(name="Rejected", message=message, data=result)


def over_budget(cost: dict[str, Any], budget: BudgetSettings) -> list[str]:
    """Why a plan's cost is above the budget, most of each counted; empty where it is not."""
    found, calls = [], cost["calls"][1]
    if budget.calls is not None and calls > budget.calls:
        found.append(f"{calls} calls at most, the budget is {budget.calls}")
    if budget.seconds is not None:
        if cost["seconds"] is None:
            found.append(f"no history of seconds, the budget is {budget.seconds:g} s")
        elif cost["seconds"][1] > budget.seconds:
            found.append(f"{cost['seconds'][1]:g} s at most, the budget is {budget.seconds:g} s")
    return found


def ask_above_budget(
    recipe: str, overrides: dict[str, Any] | None, until: Step | None = None
) -> Any | None:
    """For a run of a deployment: ask where its plan is above the recipe's budget.

    None where the run may go on, else what the flow returns.
    """
    budget = load(recipe, overrides).budget
    if budget == BudgetSettings() or not deployment.get_id():
        return None
    return ask_for(*make_plan(recipe, overrides or {}, until))


def ask_for(made: Plan, inputs: Inputs) -> Any | None:
    """`ask_above_budget` of a plan that is made already."""
    reasons = over_budget(made.cost, inputs.recipe.budget)
    if not reasons or not deployment.get_id():
        return None
    heading = "\n".join(f"- above the budget: {markdown_cell(reason)}" for reason in reasons)
    text = f"{heading}\n\n{plan_markdown(made)}\n"
    ledger = Ledger(Workspace.open().create().ledger, recipe=inputs.recipe.name)
    decision = ask(ledger, inputs.constitution_id, made, text)
    return None if decision.approve else rejected(decision)
