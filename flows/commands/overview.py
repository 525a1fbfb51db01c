"""What there is: the last runs, and the workspace with its projects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from constitution.errors import ConstitutionError
from flows.commands.options import JsonOption, RecipeOption, SetOption, ledger, print_result
from flows.explain import overview
from flows.explain.compare.text import visible
from flows.plan.plan import Plan
from flows.plan.recipe import parse_overrides
from storage.errors import InputError, SolonError
from storage.nearest import meant
from storage.workspace import Workspace

app = typer.Typer()
LAST = 10_000  # runs that are looked at for a recipe's name


@app.command("runs")
def list_runs(
    project: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of the recipe of this name only.")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """The last runs and how they ended, the newest first. Example: solon report RUN"""
    found = overview.runs(ledger(), project, count)
    if project and not found:
        known = {run["recipe"] for run in overview.runs(ledger(), None, LAST)}
        rule = "no recipe of this name has run here"
        raise InputError(project, rule, meant(project, known, "see solon status"), "NAME")
    print_result(as_json, {"runs": found}, overview.run_lines(found))


@app.command()
def status(recipe: RecipeOption = "", set_: SetOption = None, as_json: JsonOption = False) -> None:
    """The workspace: projects and their last runs, champion, bytes; what of the recipe is stale."""
    from flows.plan.planner import make_plan

    found = overview.status(ledger(), Workspace.open())
    own: dict[str, Any] = {"recipe": recipe, "stale": None, "problem": None}
    try:
        own["stale"] = stale(make_plan(recipe, parse_overrides(set_), None)[0])
        steps = ", ".join(own["stale"]) or "nothing"
        line = f"recipe {recipe}: {steps} to be made anew; solon plan says why"
    except (SolonError, ConstitutionError) as error:
        own["problem"] = str(error)
        line = f"recipe {recipe} cannot run: {visible(str(error))}"
    print_result(as_json, found | own, [*overview.status_lines(found), line])


def stale(plan: Plan) -> list[str]:
    """The steps that a run would make anew, at least in part."""
    return [step.step for step in plan.steps.values() if step.to_generate[1] or step.to_train[1]]
