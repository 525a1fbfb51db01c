"""What rows teach, and what is odd about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import JsonOption, WhoseOption, err, ledger, out, print_result
from flows.explain.compare.text import visible
from storage.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="What rows teach, and what is odd about them.")


@app.callback()
def _family() -> None:
    """A group, though it has one command."""


@app.command()
def report(
    snapshot: Annotated[
        str, typer.Argument(help="A snapshot of pairs or examples: an id, its start, or a ref.")
    ] = "latest/preferences-rows",
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for report.html, report.md, pictures; else reports/ID."),
    ] = None,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Evidence behind the pairs, by principle; what was left out; hygiene; pictures; a few rows."""
    from flows.explain.data_report.build import build
    from flows.explain.data_report.describe import AUTHOR, document
    from flows.explain.document.terminal import show
    from flows.explain.document.write import check_folder, put, write

    if to is not None:
        check_folder(to, AUTHOR)
    with err.status("reading") as status:
        found = build(ledger(snapshot, recipe=recipe), snapshot, status.update)
        status.update("drawing")
        made = document(found)
        page = write(to, made) if to else put(Workspace.open().reports / found.id, made)
    if as_json:
        print_result(as_json, found.to_json() | {"report": str(page)}, ())
        return
    show(made, out)
    out.print(f"\nreport      {visible(str(page))}", markup=False, highlight=False, soft_wrap=True)
