"""What happened: lineage up and down, what differs between two things, reports."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import (
    JsonOption,
    WhoseOption,
    err,
    ledger,
    out,
    print_lines,
    print_result,
)
from flows.explain.compare.text import visible
from flows.explain.lineage_text import (
    judged_lines,
    lineage_lines,
    mermaid,
    retrained_lines,
)
from flows.explain.row_story import story_lines
from flows.explain.standard import standard_lines, standard_rows
from storage.errors import InputError
from storage.ledger import Connection, Ledger
from storage.lineage import boxes, summary, traced
from storage.lineage_walk import Direction
from storage.lookup import opened
from storage.workspace import Workspace

app = typer.Typer()
FAN_OUT = 500
MermaidOption = Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")]
AllOption = Annotated[
    bool, typer.Option("--all", help=f"With --json: every row, not {FAN_OUT} of a kind a step.")
]
SideArgument = Annotated[
    str, typer.Argument(help="A constitution's file or name, an id, its start, or a ref.")
]


@app.command()
def why(
    id: Annotated[str, typer.Argument(help="An id, the start of one, or a ref as latest/ppo.")],
    as_chart: MermaidOption = False,
    all_: AllOption = False,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Everything a row or checkpoint was made from; of a row or run its story, and why it is new.

    Examples: solon why latest/dpo; solon why par_6bda9eb0; solon why latest/dpo~1
    """
    from flows.explain.why import judged, retrained, story

    _check(as_chart, all_, as_json)
    book = ledger(id, recipe=recipe)
    if id.startswith("run_"):
        _of_run(book, id, as_json)
        return
    with opened(book, id) as (con, ids):
        found = _lineage(con, ids, "up", as_chart, all_, as_json)
        told, causes, gates = story(con, ids[0]), retrained(con, ids[0]), judged(con, ids[0])
        measured = standard_rows(con, ids[0])
    if as_chart:
        print_lines([mermaid(found)])
        return
    more = {"story": told, "why": causes, "gates": gates, "standard": measured}
    extra = {name: value for name, value in more.items() if value}
    parts = (
        lineage_lines(found, "up"),
        retrained_lines(causes),
        judged_lines(gates),
        standard_lines(measured),
        story_lines(told) if told else (),
    )
    print_result(as_json, found | extra, chain.from_iterable(parts))


@app.command()
def impact(
    id: Annotated[str, typer.Argument(help="An id, a ref, or a principle's slug.")],
    as_chart: MermaidOption = False,
    all_: AllOption = False,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Every row and checkpoint that something reached.

    Examples: solon impact be-concise; solon impact con_1a2b3c4d
    """
    _check(as_chart, all_, as_json)
    with opened(ledger(id, recipe=recipe), id) as (con, ids):
        found = _lineage(con, ids, "down", as_chart, all_, as_json)
    print_result(as_json, found, [mermaid(found)] if as_chart else lineage_lines(found, "down"))


def _of_run(book: Ledger, run_id: str, as_json: bool) -> None:
    """A run: what it was asked for, what it did and why, how it ended."""
    from flows.explain.run_story import run_story, run_story_lines

    told = run_story(book, run_id)
    print_result(as_json, told, run_story_lines(told))


def _check(as_chart: bool, is_all: bool, as_json: bool) -> None:
    if as_json and as_chart:
        raise InputError("--json --mermaid", "standard output takes one of them", "drop one")
    if is_all and not as_json:
        raise InputError("--all", "it adds rows to --json only", "add --json, or drop it")


def _lineage(
    con: Connection,
    ids: list[str],
    direction: Direction,
    as_chart: bool,
    is_all: bool,
    as_json: bool,
) -> dict[str, Any]:
    if as_chart:
        return boxes(con, ids, direction)
    if as_json:
        return traced(con, ids, direction, None if is_all else FAN_OUT)
    return summary(con, ids, direction)


@app.command()
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
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """What changed between two constitutions, two snapshots or two checkpoints.

    Examples: solon diff latest/dpo~1 latest/dpo; solon diff constitution constitution.yaml
    """
    if as_json and as_markdown:
        raise InputError("--json --markdown", "standard output takes one of them", "drop one")
    from flows.explain.compare.build import compare
    from flows.explain.compare.describe import AUTHOR, document
    from flows.explain.document.markdown import markdown
    from flows.explain.document.page import check_target, write_page
    from flows.explain.document.terminal import show

    if html is not None:
        check_target(html, AUTHOR, "--html")
    with err.status("comparing"):
        report = compare(ledger(a, b, recipe=recipe), a, b, limit)
    if html is not None:
        write_page(html, document(report), "--html")
        err.print(f"page        {html}", markup=False, highlight=False)
    if as_json:
        print_result(as_json, report.to_json(), ())
    elif as_markdown:
        print(markdown(document(report)), end="")
    else:
        show(document(report), out)


@app.command()
def report(
    id: Annotated[
        str | None, typer.Argument(help="A run, an evaluation, a checkpoint, or a ref.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for report.html, .md, .json; else reports/ID."),
    ] = None,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Did it get better? The verdict, the scorecard, pictures, what moved most; else the latest.

    Examples: solon report; solon report run_1a2b3c4d --out page
    """
    from flows.explain.document.terminal import show
    from flows.explain.document.write import check_folder, put, write
    from flows.explain.run_report.build import build
    from flows.explain.run_report.describe import AUTHOR, document
    from flows.explain.run_report.subject import LATEST, subject

    if to is not None:
        check_folder(to, AUTHOR)
    workspace = Workspace.open()
    with err.status("reading"):
        book = ledger(id or LATEST, recipe=recipe)
        found = build(book, workspace, subject(book, id))
        made, data = document(found), found.to_json()
        folder = workspace.reports / found.about.id
        page = put(folder, made, data) if to is None else write(to, made, data)
    if as_json:
        print_result(as_json, data | {"report": str(page)}, ())
        return
    show(made, out)
    out.print(f"\nreport      {visible(str(page))}", markup=False, highlight=False, soft_wrap=True)
