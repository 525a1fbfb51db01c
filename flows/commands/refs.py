"""Named pointers: list them, move them, take a move back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from flows.commands.options import JsonOption, ledger, print_result
from flows.explain.show import table
from storage import refs
from storage.ids import kind_of, short
from storage.ledger import Row
from storage.person import person

app = typer.Typer(no_args_is_help=True, help="Named pointers and where they have pointed.")
COLUMNS = ("name", "target", "moved", "author", "note")
NameArgument = Annotated[str, typer.Argument(help="champion, constitution, env/production, …")]


@app.command("list")
def list_refs(
    name: Annotated[str | None, typer.Argument(help="One ref: where it has pointed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Every ref and where it points; with NAME, that ref's moves, the last one first."""
    if name is None:
        found = refs.refs(ledger())
        print_result(as_json, {"refs": found}, [_table("refs", found)])
        return
    moves = refs.history(ledger(), name)
    found = [row | {"name": f"{name}~{n}" if n else name} for n, row in enumerate(moves)]
    print_result(as_json, {"name": name, "moves": found}, [_table(name, found)])


@app.command("set")
def set_ref(
    name: NameArgument,
    target: Annotated[
        str, typer.Argument(help="An id, its start, another ref; of `constitution` also a file.")
    ],
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Even a champion that has not passed its gates.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Point a ref to a checkpoint, a constitution or another row. `latest/…` is moved by runs."""
    if name == "constitution":
        target = _recorded(target)
    _print_move(name, refs.set_ref(ledger(), name, target, person(), note, force), as_json)


@app.command()
def rollback(name: NameArgument, as_json: JsonOption = False) -> None:
    """Back to where a ref pointed before; again, one further back. Nothing is forgotten."""
    _print_move(name, refs.rollback(ledger(), name, person()), as_json)


def _recorded(target: str) -> str:
    """The id of a constitution's file or packaged name, kept in the ledger; of a ref or id itself.

    Raises ConstitutionError where it is none of these.
    """
    from constitution.load import load, meant_file, resolve
    from flows.plan.constitutions import keep_constitution

    known = ledger()
    if known.query("SELECT 1 FROM refs WHERE name = ?", [target.split("~")[0]]):
        return target
    path = meant_file(target)
    if path is None and kind_of(target):
        return target
    path = path or resolve(target)
    return keep_constitution(known, load(path), path)


def _print_move(name: str, move: tuple[str | None, str], as_json: bool) -> None:
    was, is_now = move
    line = f"{name}: {short(was or '(nothing)')} -> {short(is_now)}"
    if was == is_now:
        line = f"{name} points to {short(is_now)} already"
    print_result(as_json, {"name": name, "was": was, "is": is_now}, [line])


def _table(title: str, found: list[Row]) -> Table:
    rows = [
        (
            row["name"],
            short(row["target_id"]),
            f"{row['moved_at']:%Y-%m-%d %H:%M}" if row["moved_at"] else "",
            row["author"] or "",
            " ".join(filter(None, ["(forced)" if row["is_forced"] else "", row["note"]])),
        )
        for row in found
    ]
    return table(title, COLUMNS, rows, left=len(COLUMNS))
