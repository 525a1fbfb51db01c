"""People's verdicts on pairs: in the terminal, in a browser, or in files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import (
    JsonOption,
    RecipeOption,
    SetOption,
    err,
    print_lines,
    print_result,
)
from flows.plan.recipe import parse_overrides
from storage.errors import InputError
from storage.ledger import Ledger
from storage.person import person
from storage.workspace import Workspace

if TYPE_CHECKING:
    from tasks.review.queue import Item

app = typer.Typer()
FILES = ".csv or .json"


@app.command()
def review(
    recipe: RecipeOption = "",
    set_: SetOption = None,
    by: Annotated[str, typer.Option("--by", help="Who says it.", show_default="you")] = "",
    show_status: Annotated[
        bool, typer.Option("--status", help="How far reviewers are and agree; asks nothing.")
    ] = False,
    web: Annotated[bool, typer.Option("--web", help="As a page for a browser.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--export", help=f"Write pairs and verdicts for other tools: {FILES}."),
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--import", help=f"Read verdicts that were given there: {FILES}.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of two answers is better, where that is worth most; people outrank all others.

    --json: the queue itself. Example: solon review --export pairs.csv
    """
    asked = [n for n, on in _modes(show_status, web, to, from_).items() if on]
    if len(asked) > 1:
        raise InputError(" ".join(asked), "one at a time", f"give {asked[0]} alone")
    from flows.plan.paths import missing
    from tasks.review.say import checked_name

    if from_ is not None and not from_.exists():
        raise missing(from_, "--import", "give what solon review --export wrote")
    author = checked_name(by or person())
    if web:
        _serve(recipe, set_, author)
        return
    ledger, name, items = _items(recipe, set_)
    if to is not None:
        _export(ledger, items, to, as_json)
    elif from_ is not None:
        _import(ledger, items, from_, author, as_json)
    elif show_status:
        _status(ledger, items, as_json)
    elif as_json:
        _queue(ledger, items, name, author)
    else:
        from flows.commands.reviewing import Terminal, ask

        with Terminal() as terminal:
            ask(ledger, items, author, terminal)


def _modes(show_status: bool, web: bool, to: Path | None, from_: Path | None) -> dict[str, bool]:
    files = {"--export": to is not None, "--import": from_ is not None}
    return {"--status": show_status, "--web": web} | files


def _items(recipe: str, set_: list[str] | None) -> tuple[Ledger, str, list[Item]]:
    from flows.plan.read_inputs import inputs_of
    from flows.plan.reviewed import review_items

    with err.status("reading"):
        inputs, workspace, ledger = inputs_of(recipe, parse_overrides(set_))
        items = review_items(inputs, workspace, ledger) if ledger.exists else []
    if not items:
        rule = "no rows of this recipe can be reviewed yet"
        raise InputError(inputs.recipe.name, rule, "make some: solon refresh", "--recipe")
    return ledger, inputs.recipe.name, items


def _queue(ledger: Ledger, items: list[Item], recipe: str, author: str) -> None:
    from flows.explain.review.desk import Desk

    desk = Desk(ledger, items, author)
    found = {"recipe": recipe, "by": author, "done": desk.done()}
    print_result(True, found | {"queue": [item.to_json() for item in desk.waiting()]}, ())


def _status(ledger: Ledger, items: list[Item], as_json: bool) -> None:
    from flows.explain.review.desk import status
    from flows.explain.review.text import status_lines
    from tasks.review.record import standing

    found = status(items, standing(ledger))
    print_result(as_json, found, status_lines(found))


def _export(ledger: Ledger, items: list[Item], to: Path, as_json: bool) -> None:
    from flows.explain.review.files import write
    from tasks.review.record import standing

    found = write(to, items, standing(ledger))
    lines = [f"{found['pairs']} pairs, {found['verdicts']} verdicts: {to}"]
    if found["interface"]:
        lines.append(f"its labeling interface: {found['interface']}")
    print_result(as_json, found, lines)


def _import(ledger: Ledger, items: list[Item], path: Path, author: str, as_json: bool) -> None:
    from flows.explain.review.files import take, taken_lines
    from tasks.review.record import keep

    taken = take(path, ledger, items, author)
    if taken.verdicts:
        keep(ledger, taken.verdicts)
    print_result(as_json, taken.to_json(), taken_lines(taken))


def _serve(recipe: str, set_: list[str] | None, author: str) -> None:
    if set_:
        fix = "run once with it, and the page is about that run's rows"
        raise InputError("--set", "the page shows the rows of the recipe's last run", fix)
    from flows.plan.recipe import load
    from flows.serve import server
    from flows.serve.review_server import address, serve_reviews

    workspace, name = Workspace.open(), load(recipe).name
    if port := server.served_port(workspace):
        lines = [address(port, name, author), server.login(workspace)]
        print_lines([f"page      {lines[0]}", f"login     {lines[1]}"])
        return
    serve_reviews(workspace, name, author, err)
