"""Rows for other tools, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import JsonOption, ledger, print_result
from flows.explain.compare.text import visible
from storage.ids import short

app = typer.Typer()


@app.command()
def export(
    snapshot: Annotated[str, typer.Argument(help="A dataset id or latest/preferences-rows.")],
    to: Annotated[
        Path, typer.Option("--out", help="A new or empty folder, or a new .jsonl or .parquet.")
    ],
    format: Annotated[str, typer.Option("--format", help="trl, hh, parquet or hf.")] = "trl",
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot's rows for other tools, with a card filled from its lineage."""
    from flows.explain.export import export_snapshot

    result = export_snapshot(ledger(), snapshot, format, to)
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
