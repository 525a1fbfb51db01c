"""Lineage up and down."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.commands.options import JsonOption, ledger, out, print_json, print_lines
from flows.explain.lineage_text import lineage_lines, mermaid
from storage.errors import InputError
from storage.ledger import Connection
from storage.lineage import boxes, opened, summary, traced
from storage.lineage_walk import Direction

FAN_OUT = 500
MermaidOption = Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")]
AllOption = Annotated[
    bool, typer.Option("--all", help=f"With --json: every row, not {FAN_OUT} of a kind a step.")
]


def why(
    id: Annotated[str, typer.Argument(help="An id, the start of one, or a ref as latest/ppo.")],
    as_chart: MermaidOption = False,
    all_: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Everything a row or checkpoint was made from; of a row its whole story, and why it is new."""
    from flows.explain.why import retrained, story
    from flows.explain.why_text import retrained_lines, story_lines

    _check(as_chart, all_, as_json)
    if as_chart:
        _print_chart(id, "up")
        return
    with opened(ledger(), id) as (con, ids):
        found = _lineage(con, ids, "up", as_json, all_)
        told, causes = story(con, ids[0]), retrained(con, ids[0])
    if as_json:
        print_json(found | ({"story": told} if told else {}) | ({"why": causes} if causes else {}))
        return
    print_lines(lineage_lines(found, "up"))
    print_lines(retrained_lines(causes))
    for line in story_lines(told) if told else ():
        out.print(line, markup=False, highlight=False)


def impact(
    id: Annotated[str, typer.Argument(help="An id, a ref, or a principle's slug.")],
    as_chart: MermaidOption = False,
    all_: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Every row and checkpoint that something reached."""
    _check(as_chart, all_, as_json)
    if as_chart:
        _print_chart(id, "down")
        return
    with opened(ledger(), id) as (con, ids):
        found = _lineage(con, ids, "down", as_json, all_)
    if as_json:
        print_json(found)
    else:
        print_lines(lineage_lines(found, "down"))


def _check(as_chart: bool, is_all: bool, as_json: bool) -> None:
    if as_json and as_chart:
        raise InputError("--json --mermaid", "standard output takes one of them", "drop one")
    if is_all and not as_json:
        raise InputError("--all", "it adds rows to --json only", "add --json, or drop it")


def _lineage(
    con: Connection, ids: list[str], direction: Direction, as_json: bool, is_all: bool
) -> dict[str, Any]:
    if as_json:
        return traced(con, ids, direction, None if is_all else FAN_OUT)
    return summary(con, ids, direction)


def _print_chart(name: str, direction: Direction) -> None:
    with opened(ledger(), name) as (con, ids):
        drawn = boxes(con, ids, direction)
    print_lines([mermaid(drawn)])


def register(app: typer.Typer) -> None:
    app.command()(why)
    app.command()(impact)
