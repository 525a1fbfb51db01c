"""What changed between two constitutions, snapshots or checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import JsonOption, err, ledger, out, print_json
from storage.errors import InputError

if TYPE_CHECKING:
    from flows.explain.compare.report import Report

SideArgument = Annotated[
    str, typer.Argument(help="A constitution's file or name, an id, its start, or a ref.")
]


def diff(
    a: SideArgument,
    b: SideArgument,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown on standard output.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=0, help="The most changed rows that are shown with their texts.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """What changed between two constitutions, two snapshots or two checkpoints."""
    if as_json and as_markdown:
        raise InputError("--json --markdown", "standard output takes one of them", "drop one")
    from flows.explain.compare.build import compare
    from flows.explain.compare.page import page
    from flows.explain.compare.write import check_target, write_page

    if html is not None:
        check_target(html)
    with err.status("comparing"):
        report = compare(ledger(), a, b, limit)
    if html is not None:
        write_page(html, page(report))
        err.print(f"page        {html}", markup=False, highlight=False)
    _print(report, as_json, as_markdown)


def _print(report: Report, as_json: bool, as_markdown: bool) -> None:
    from flows.explain.compare.markdown import markdown
    from flows.explain.compare.terminal import show

    if as_json:
        print_json(report.to_json())
    elif as_markdown:
        print(markdown(report), end="")
    else:
        show(report, out)


def register(app: typer.Typer) -> None:
    app.command()(diff)
