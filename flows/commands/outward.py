"""Export rows, and serve the flows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import JsonOption, err, ledger, print_json, print_lines
from flows.explain.compare.text import visible
from storage.workspace import Workspace


def export(
    snapshot: Annotated[str, typer.Argument(help="A dataset id or latest/preferences-rows.")],
    to: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    format: Annotated[str, typer.Option("--format", help="trl, hh, parquet or hf.")] = "trl",
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot's rows for other tools, with a card filled from its lineage."""
    from flows.explain.export import export_snapshot

    result = export_snapshot(ledger(), snapshot, format, to)
    if as_json:
        print_json(result)
    else:
        print_lines([f"{result['rows']} rows, {result['held_out']} held out: {visible(str(to))}"])


def serve(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on this machine.")] = 4200,
) -> None:
    """Server, UI, worker and schedules of this workspace, until Ctrl-C."""
    from flows.serve.serving import serve_until_stopped

    serve_until_stopped(Workspace.open().create(), port, err)


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(serve)
