"""What the commands share: two consoles, options, the ledger, results on standard output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Annotated, Any, cast

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from flows.explain.compare.text import escaped
from flows.plan.recipe_file import FIRST, PROJECT, chosen
from flows.plan.steps import STEPS, Step
from storage.errors import InputError
from storage.ledger import Ledger
from storage.nearest import meant
from storage.workspace import Workspace

out = Console(soft_wrap=True, emoji=False)
err = Console(stderr=True, emoji=False)

RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="A recipe's name or a .yaml file.",
        callback=chosen,
        show_default=f"{PROJECT} of this folder, else {FIRST}",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One value of the recipe: key.path=value.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", help=f"Stop after: {', '.join(STEPS)}.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def print_result(as_json: bool, value: Any, shown: Iterable[RenderableType]) -> None:
    """The value as JSON, or what a person sees of it."""
    if as_json:
        print(escaped(json.dumps(value, ensure_ascii=False, indent=1, default=str)))
    else:
        print_lines(shown)


def print_lines(shown: Iterable[RenderableType]) -> None:
    """Lines as they are, nothing in them is markup; tables as wide as the terminal."""
    for part in shown:
        out.print(part, markup=False, highlight=False, soft_wrap=not isinstance(part, Table))


def again(recipe: str, set_: list[str] | None) -> str:
    """The options with which another command is about the same run: what is found is not named."""
    named = [] if recipe == chosen("") else ["--recipe", recipe]
    values = [part for value in set_ or () for part in ("--set", value)]
    return "".join(f" {shlex.quote(part)}" for part in (*named, *values))


def ledger() -> Ledger:
    """The workspace's ledger, for reading and short writes of this command."""
    return Ledger(Workspace.open().ledger)


def step_named(until: str | None) -> Step | None:
    """The step of that name; None for none. Raises InputError for any other name."""
    if until is not None and until not in STEPS:
        fix = meant(until, STEPS, f"use {', '.join(STEPS)}")
        raise InputError(until, "no step has this name", fix, "--until")
    return cast("Step | None", until)
