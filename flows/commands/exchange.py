"""Rows for other tools, and back; more prompts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import (
    JsonOption,
    RecipeOption,
    SetOption,
    WhoseOption,
    ledger,
    print_result,
)
from flows.commands.running import run_flow
from flows.explain.compare.text import visible
from flows.plan import recipe as recipes
from storage.errors import InputError, SolonError
from storage.ids import short
from storage.workspace import Workspace

app = typer.Typer()


@app.command()
def export(
    snapshot: Annotated[str, typer.Argument(help="A dataset id or latest/preferences-rows.")],
    to: Annotated[
        Path, typer.Option("--out", help="A new or empty folder, or a new .jsonl or .parquet.")
    ],
    format: Annotated[str, typer.Option("--format", help="trl, hh, parquet or hf.")] = "trl",
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot's rows for other tools, with a card filled from its lineage.

    Example: solon export latest/preferences-rows --format trl --out pairs
    """
    from flows.explain.export import export_snapshot

    result = export_snapshot(ledger(snapshot, recipe=recipe), snapshot, format, to)
    line = f"{result['rows']} rows, {result['held_out']} held out: {visible(str(to))}"
    left_out = f"{result['left_out']} rows are left out: the form cannot hold them, see its card"
    print_result(as_json, result, [line, left_out] if result["left_out"] else [line])


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="What solon export wrote: a folder or a file.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the ref imported/NAME; else as the path.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take an export back: the same rows under the same ids. Nothing is written on bad input.

    Example: solon import pairs --name from-lab
    """
    from flows.run.import_rows import import_rows

    result = import_rows(ledger(), path, name)
    line = (
        f"{result['ref']}: {short(result['id'])}, {result['rows']} rows,"
        f" {result['held_out']} held out, {result['new']} of them new here"
    )
    print_result(as_json, result, [line])


@app.command("more-prompts")
def more_prompts(
    to: Annotated[Path, typer.Option("--out", help="A new file, .jsonl.")],
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many at most.")] = 50,
    recipe: RecipeOption = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the model write prompts like the recipe's, for you to look at and to name in it.

    Example: solon more-prompts -n 50 --out more.jsonl, then prompts.more: more.jsonl
    """
    if to.suffix != ".jsonl" or to.exists():
        raise InputError(str(to), "the file must be new and end in .jsonl", "name another", "--out")
    overrides = recipes.parse_overrides(set_)
    parameters = {"recipe": recipe, "count": count, "overrides": overrides}
    result = run_flow("more_prompts", parameters, Workspace.open())
    rows = result["prompts"]
    lost = ", ".join(f"{reason} {n}" for reason, n in sorted(result["left_out"].items()))
    if not rows:
        of = f"{result['calls']} answers hold no prompt that can be used"
        raise SolonError(f"{of} (left out: {lost or 'none, for none was numbered'})")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    to.write_text(text, encoding="utf-8")
    found = Counter(row["category"] for row in rows)
    of = ", ".join(f"{visible(name)} {n}" for name, n in sorted(found.items()))
    lines = [
        f"{len(rows)} prompts ({of}) of {result['calls']} calls; left out: {lost or 'none'}",
        f"look at {visible(str(to))}, then set prompts.more to it",
    ]
    print_result(as_json, result | {"out": str(to.absolute())}, lines)
