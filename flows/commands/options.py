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
from flows.plan.recipe_file import FIRST, PROJECT, chosen, name_of, project_name
from flows.plan.steps import STEPS, Step
from storage.errors import InputError
from storage.ledger import Ledger
from storage.nearest import meant
from storage.own_refs import is_own, recipes
from storage.readable import ledger_at
from storage.workspace import Workspace, no_workspace

out = Console(soft_wrap=True, emoji=False)
err = Console(stderr=True, emoji=False)

SLUG = "SELECT 1 FROM principles WHERE slug = ? LIMIT 1"
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="A recipe's name or a .yaml file.",
        callback=chosen,
        show_default=f"{PROJECT} of this folder, else {FIRST}",
    ),
]
WhoseOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="Whose latest/… and champion are meant: a recipe's name or file.",
        show_default=f"{PROJECT} of this folder, else the recipe that ran last",
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


def none_yet(said: str) -> str:
    """What is said where nothing is to be told: `said`, or that there is no workspace at all."""
    root = Workspace.open().root
    return said if root.exists() else no_workspace(root)


def again(recipe: str, set_: list[str] | None) -> str:
    """The options with which another command is about the same run: what is found is not named."""
    named = [] if recipe == chosen("") else ["--recipe", recipe]
    values = [part for value in set_ or () for part in ("--set", value)]
    return "".join(f" {shlex.quote(part)}" for part in (*named, *values))


def ledger(*names: str, recipe: str = "") -> Ledger:
    """The workspace's ledger, for reading and short writes of this command.

    `latest/…`, champion and constitution are those of the recipe, else of the current folder's,
    else of the one that ran last: where `names` has such a ref and several have run, it is said.
    """
    found = ledger_at(Workspace.open().ledger)
    known = recipes(found)
    found.recipe = recipe if recipe in known else name_of(recipe) if recipe else project_name()
    own = [name for name in names if is_own(name) or found.query(SLUG, [name])]
    if own and len(known) > 1:
        found.recipe = found.recipe or known[0]
        other = next(name for name in known if name != found.recipe)
        said = f"{own[0]}: of recipe {found.recipe}; of another with --recipe {other}"
        err.print(said, markup=False, highlight=False, soft_wrap=True)
    return found


def whose(recipe: str) -> str:
    """What goes before `latest/…` where said in short it would mean another recipe's."""
    found = ledger()
    at_hand = found.recipe or next(iter(recipes(found)), recipe)
    return "" if at_hand == recipe else f"{recipe}/"


def step_named(until: str | None) -> Step | None:
    """The step of that name; None for none. Raises InputError for any other name."""
    if until is not None and until not in STEPS:
        fix = meant(until, STEPS, f"use {', '.join(STEPS)}")
        raise InputError(until, "no step has this name", fix, "--until")
    return cast("Step | None", until)
