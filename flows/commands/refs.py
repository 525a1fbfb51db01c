"""Named pointers: list them, move them, take a move back."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.options import JsonOption, ledger, out, print_json
from flows.explain.compare.text import one_line
from storage import refs
from storage.ids import kind_of
from storage.ledger import Row

TIMEOUT_S = 10.0
NameArgument = Annotated[str, typer.Argument(help="champion, constitution, env/production, …")]


def list_refs(
    name: Annotated[str | None, typer.Argument(help="One ref: where it has pointed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Every ref and where it points; with NAME, that ref's moves, the last one first."""
    if name is None:
        found = refs.refs(ledger())
        if as_json:
            print_json({"refs": found})
        else:
            out.print(_table("refs", ("name", "target_id"), found))
        return
    moves = refs.history(ledger(), name)
    names = [name if n == 0 else f"{name}~{n}" for n in range(len(moves))]
    found = [
        {"name": n, **{k: row[k] for k in row if k != "name"}}
        for n, row in zip(names, moves, strict=True)
    ]
    if as_json:
        print_json({"name": name, "moves": found})
    else:
        out.print(_table(name, ("name", "target_id"), found))


def set_ref(
    name: NameArgument,
    target: Annotated[
        str, typer.Argument(help="An id, its start, another ref; of `constitution` also a file.")
    ],
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Point a ref to a checkpoint, a constitution or another row. `latest/…` is moved by runs."""
    if name == "constitution":
        target = _recorded(target)
    was, is_now = refs.set_ref(ledger(), name, target, _author(), note)
    _print_move(name, was, is_now, as_json)


def rollback(name: NameArgument, as_json: JsonOption = False) -> None:
    """Back to where a ref pointed before; again, one further back. Nothing is forgotten."""
    was, is_now = refs.rollback(ledger(), name, _author())
    _print_move(name, was, is_now, as_json)


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


def _print_move(name: str, was: str | None, is_now: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "was": was, "is": is_now})
    elif was == is_now:
        out.print(f"{name} points to {is_now} already", markup=False, highlight=False)
    else:
        out.print(f"{name}: {was or '(nothing)'} -> {is_now}", markup=False, highlight=False)


def _table(title: str, ids: Iterable[str], found: list[Row]) -> Table:
    table = Table(title=Text(one_line(title, 80)), title_justify="left")
    columns = (*ids, "moved_at", "author", "note")
    for column in columns:
        table.add_column(column.removesuffix("_id").replace("_at", ""), overflow="fold")
    for row in found:
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _cell(value: Any) -> Text:
    if hasattr(value, "strftime"):
        return Text(f"{value:%Y-%m-%d %H:%M}")
    return Text(one_line(str(value or ""), 80))


def _author() -> str:
    """The name and mail that git knows for this person, else the user's name."""
    said = [_git(f"user.{field}") for field in ("name", "email")]
    if said[0]:
        return f"{said[0]} <{said[1]}>" if said[1] else said[0]
    return said[1] or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process whose user has no name
        return ""


def _git(key: str) -> str:
    try:
        done = subprocess.run(
            ["git", "config", key],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Named pointers and where they have pointed.")
    group.command("list")(list_refs)
    group.command("set")(set_ref)
    group.command("rollback")(rollback)
    app.add_typer(group, name="ref")
