"""Runs of the method and of its parts, and the plan of one."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType

from flows.commands.options import (
    JsonOption,
    RecipeOption,
    SetOption,
    UntilOption,
    again,
    err,
    print_result,
    step_named,
    whose,
)
from flows.commands.running import run_flow
from flows.explain import show
from flows.explain.compare.text import visible
from flows.plan import recipe as recipes
from flows.plan.steps import STAGES
from storage.errors import InputError
from storage.nearest import meant
from storage.readable import ledger_at
from storage.workspace import Workspace

app = typer.Typer()


@app.command()
def run(
    recipe: RecipeOption = "",
    set_: SetOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole method: generate what is missing, train what that reaches, measure, report.

    Examples: solon run; solon run --recipe smoke --until sft; solon run --set dpo.beta=0.2
    """
    _run("align", recipe, set_, until, as_json)


@app.command()
def refresh(recipe: RecipeOption = "", set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Drafts, critiques, revisions and pairs; trains nothing.

    Example: solon refresh --recipe smoke
    """
    _run("refresh", recipe, set_, "pairs", as_json)


@app.command()
def train(
    recipe: RecipeOption = "",
    set_: SetOption = None,
    until: Annotated[
        str, typer.Option("--until", help=f"Stop after: {', '.join(STAGES)}.")
    ] = "ppo",
    as_json: JsonOption = False,
) -> None:
    """SFT, reward model, DPO and PPO on rows that are there. Example: solon train --until dpo"""
    if until not in STAGES:
        stages = ", ".join(STAGES)
        fix = meant(until, STAGES, f"use {stages}")
        raise InputError(until, "this is no stage of training", fix, "--until")
    _run("train", recipe, set_, until, as_json)


@app.command()
def evaluate(
    recipe: RecipeOption = "", set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Measure checkpoints that are there on the held-out prompts.

    Example: solon evaluate --set evaluation.answers=4
    """
    _run("evaluate", recipe, set_, None, as_json)


@app.command()
def plan(
    recipe: RecipeOption = "",
    set_: SetOption = None,
    until: UntilOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, for a review.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a run would reuse, generate and train, and what it would cost. Writes nothing.

    Examples: solon plan; solon plan --until pairs; solon plan --set prompts=questions.csv
    """
    from flows.plan.latest import moves, targets
    from flows.plan.planner import make_plan

    made, inputs = make_plan(recipe, recipes.parse_overrides(set_), step_named(until))
    if markdown and not as_json:
        print(show.plan_markdown(made))
    else:
        head = show.plan_head(recipe, inputs)
        value: dict[str, Any] = {"recipe": inputs.recipe.name}
        lines: list[RenderableType] = [head, show.plan_table(made), *show.training_tables(made)]
        lines += show.plan_lines(made)
        own = ledger_at(Workspace.open().ledger, recipe=inputs.recipe.name)
        moved = list(moves(own, targets(made, inputs)))
        if made.is_empty and moved:
            lines += show.moved_lines(moved)
            value["moves"] = {name: {"from": was, "to": to} for name, was, to in moved}
        print_result(as_json, value | made.to_json(), lines)


def _run(
    flow: Literal["align", "refresh", "train", "evaluate"],
    recipe: str,
    set_: list[str] | None,
    until: str | None,
    as_json: bool,
) -> None:
    from flows.plan.planner import make_plan
    from flows.run.results import nothing_done

    started = time.monotonic()
    overrides, step = recipes.parse_overrides(set_), step_named(until)
    made, inputs = make_plan(recipe, overrides, step)
    workspace = Workspace.open()
    if made.is_empty:
        result = nothing_done(made, inputs, workspace)
        err.print("nothing to do: every row and checkpoint is there")
    else:
        for note in made.notes:
            err.print(f"note: {visible(note)}", markup=False, highlight=False)
        parameters: dict[str, Any] = {"recipe": recipe, "overrides": overrides}
        if flow in ("align", "train"):
            parameters["until"] = step
        result = run_flow(flow, parameters, workspace)
    seconds = f"{time.monotonic() - started:.0f} s"
    lines = show.run_lines(result, again(recipe, set_), whose(result["recipe"]))
    print_result(as_json, result, [show.run_table(result), *lines, seconds])
