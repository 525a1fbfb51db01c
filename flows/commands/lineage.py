"""Lineage up and down."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows import show
from flows.commands.options import JsonOption, ledger, print_json, print_lines
from storage.lineage import trace


def why(
    id: Annotated[str, typer.Argument(help="An id, the start of one, or a ref as latest/ppo.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Everything a row or checkpoint was made from."""
    _trace(id, "up", mermaid, as_json)


def impact(
    id: Annotated[str, typer.Argument(help="An id, a ref, or a principle's slug.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every row and checkpoint that something reached."""
    _trace(id, "down", mermaid, as_json)


def _trace(name: str, direction: Literal["up", "down"], mermaid: bool, as_json: bool) -> None:
    found = trace(ledger(), name, direction)
    if as_json:
        print_json(found)
    elif mermaid:
        print(show.mermaid(found))
    else:
        print_lines(show.lineage_lines(found, direction))


def register(app: typer.Typer) -> None:
    app.command()(why)
    app.command()(impact)
