"""What there is: the last runs, and the workspace with its projects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from constitution.errors import ConstitutionError
from flows.commands.options import (
    JsonOption,
    RecipeOption,
    SetOption,
    ledger,
    none_yet,
    print_result,
)
from flows.explain import overview
from flows.explain.compare.text import visible
from flows.plan.recipe import parse_overrides
from flows.plan.recipe_file import FIRST, called, names
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
    lines = overview.run_lines(found) if found else [none_yet("no run yet")]
    print_result(as_json, {"runs": found}, lines)


@app.command()
def status(recipe: RecipeOption = "", set_: SetOption = None, as_json: JsonOption = False) -> None:
    """The workspace by recipe: last run, champion and what is in its way, what is stale; bytes."""
    found = overview.status(ledger(), Workspace.open())
    at_hand = called(recipe)
    own: dict[str, Any] = {"recipe": recipe} | staleness(recipe, set_)
    offered = names()
    for project in found["projects"]:
        is_own = project["recipe"] == at_hand
        if is_own:
            project |= own | {"recipe": at_hand}
        elif project["recipe"] in offered:
            project |= staleness(project["recipe"])
        else:
            project |= {"stale": None, "problem": "its file is not here: give it with --recipe"}
    lines = [*overview.status_lines(found)]
    ran = [project["recipe"] for project in found["projects"]]
    if at_hand not in ran and not (ran and recipe == FIRST):
        problem = visible(own["problem"] or "")
        lines.append(f"recipe {recipe} " + (f"cannot run: {problem}" if problem else "has not run"))
    print_result(as_json, found | own, lines)


def staleness(recipe: str, set_: list[str] | None = None) -> dict[str, Any]:
    """The steps that a run would make anew, at least in part; or why there can be none."""
    from flows.plan.planner import make_plan

    try:
        plan = make_plan(recipe, parse_overrides(set_), None)[0]
    except (SolonError, ConstitutionError) as error:
        return {"stale": None, "problem": str(error)}
    steps = plan.steps.values()
    stale = [step.step for step in steps if step.to_generate[1] or step.to_train[1]]
    return {"stale": stale, "problem": None}
