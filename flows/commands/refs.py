"""Named pointers: list them, move them, take a move back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from flows.commands.options import JsonOption, WhoseOption, ledger, none_yet, print_result
from flows.explain.compare.text import one_line
from storage import refs
from storage.ids import kind_of, short
from storage.ledger import Ledger, Row
from storage.own_refs import full_name
from storage.own_refs import target as pointed
from storage.person import person

app = typer.Typer(no_args_is_help=True, help="Named pointers and where they have pointed.")
LINE_CHARS = 200
NameArgument = Annotated[str, typer.Argument(help="champion, constitution, env/production, …")]


@app.command("list")
def list_refs(
    name: Annotated[str | None, typer.Argument(help="One ref: where it has pointed.")] = None,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Every ref and where it points; with NAME, that ref's moves, the last one first."""
    if name is None:
        found = refs.refs(ledger())
        print_result(as_json, {"refs": found}, _lines(found))
        return
    moves = refs.history(ledger(name, recipe=recipe), name)
    name = moves[0]["name"]
    found = [row | {"name": f"{name}~{n}" if n else name} for n, row in enumerate(moves)]
    print_result(as_json, {"name": name, "moves": found}, _lines(found))


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
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point a ref to a checkpoint, a constitution or another row. `latest/…` is moved by runs.

    Examples: solon ref set champion latest/dpo; solon ref set env/production champion
    """
    book = ledger(name, recipe=recipe)
    full = full_name(book, name)
    if full.rpartition("/")[2] == "constitution":
        target = _recorded(book, target)
    _print_move(full, refs.set_ref(book, full, target, person(), note, force), as_json)


@app.command()
def rollback(name: NameArgument, recipe: WhoseOption = "", as_json: JsonOption = False) -> None:
    """Back to where a ref pointed before; again, one further back. Nothing is forgotten."""
    book = ledger(name, recipe=recipe)
    full = full_name(book, name)
    _print_move(full, refs.rollback(book, full, person()), as_json)


def _recorded(known: Ledger, target: str) -> str:
    """The id of a constitution's file or packaged name, kept in the ledger; of a ref or id itself.

    Raises ConstitutionError where it is none of these.
    """
    from constitution.load import load, meant_file, resolve
    from flows.plan.constitutions import keep_constitution

    if pointed(known, target.split("~")[0]):
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


def _lines(found: list[Row]) -> Iterator[str]:
    """A line a ref, the id first: its name, when it was moved, by whom and why."""
    width = max((len(row["name"]) for row in found), default=0)
    for row in found:
        when = f"{row['moved_at'].astimezone():%Y-%m-%d %H:%M}" if row["moved_at"] else ""
        why = " ".join(filter(None, ["(forced)" if row["is_forced"] else "", row["note"]]))
        said = one_line(": ".join(filter(None, [row["author"] or "", why])), LINE_CHARS)
        yield f"{short(row['target_id'])}  {row['name']:<{width}}  {when}  {said}".rstrip()
    if not found:
        yield none_yet("no ref yet")
