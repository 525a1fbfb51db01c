"""Clear a workspace of what nothing needs; keep it elsewhere, and bring it back."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import JsonOption, err, print_lines, print_result
from flows.explain.compare.text import visible
from flows.explain.overview import human
from flows.run.console import BarProgress
from storage import backup as backups
from storage.backup import keeping
from storage.errors import InputError
from storage.lock import file_lock
from storage.object_store import Backup, Store
from storage.workspace import Workspace

app = typer.Typer()
LATE_S, MB = 2.0, 1_000_000
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.command()
def gc(
    keep_runs: Annotated[
        int, typer.Option("--keep-runs", min=1, help="Of every recipe the last so many are kept.")
    ] = 3,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Only what is of earlier runs, as 30d, 12h.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove rows, checkpoints, reports and logs that no ref, kept run or verdict needs.

    Never what people wrote. Examples: solon gc; solon gc --keep-runs 1 --older-than 30d --yes
    """
    from flows.serve.clearing import Cleaner, lines

    workspace, since = Workspace.open(), _since(older_than)
    if not workspace.ledger.exists():
        raise InputError(workspace.root, "there is no workspace to clear", "set SOLON_HOME to one")
    with keeping(workspace, "solon gc"):
        cleaner = Cleaner(workspace, keep_runs, since)
        with err.status("looking at what is needed"):
            found = cleaner.look()
        is_asked = not (yes or as_json or found.is_empty) and sys.stdin.isatty()
        if is_asked:
            print_lines(lines(found, is_done=False))
            yes = typer.confirm("remove it?", err=True)
        if yes:
            with err.status("clearing"):
                found = cleaner.clear()
    value = {"workspace": str(workspace.root), "is_done": yes} | found.to_json()
    hint = [] if yes or found.is_empty else ["nothing was removed: solon gc --yes does it"]
    shown = [] if is_asked and not yes else list(lines(found, is_done=yes))
    print_result(as_json, value, [*shown, *hint])


@app.command()
def backup(
    to: Annotated[str, typer.Argument(metavar="DIR", help="A folder for backups, on any disk.")],
    list_: Annotated[
        bool, typer.Option("--list", help="Those that are there; makes none.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up the workspace, while runs go on; only what is new since the last one is copied.

    Without server, login and unfinished work. Example: solon backup /mnt/safe/solon
    """
    store, workspace = _store(to), Workspace.open()
    if list_:
        found = store.backups()
        value = {"backups": [each.to_json() for each in found]}
        print_result(as_json, value, [_line(each) for each in found] or ["no backup yet"])
        return
    if store.root.absolute().is_relative_to(workspace.root):
        raise InputError(to, "this is inside the workspace", "name a folder elsewhere", "DIR")
    if not workspace.ledger.exists():
        raise InputError(workspace.root, "there is no workspace to back up", "set SOLON_HOME to it")
    with keeping(workspace, "solon backup"), file_lock(store.create().root / "store.lock", 0):
        with Late("backup", backups.bytes_of(workspace)) as late:
            made = backups.back_up(workspace, store, late.heard)
    lines = [_line(made), *(f"left out: {text}" for text in made.left_out)]
    print_result(as_json, made.to_json(), lines)
    if made.left_out:
        raise typer.Exit(1)


@app.command()
def restore(
    from_: Annotated[str, typer.Argument(metavar="DIR", help="What solon backup was given.")],
    to: Annotated[
        Path | None, typer.Argument(metavar="[WORKSPACE]", help="New or empty; else SOLON_HOME.")
    ] = None,
    backup_id: Annotated[
        str | None, typer.Option("--backup", help="Its id or the start of it; else the newest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back as a new workspace, every file checked; all of it, or nothing.

    Example: solon restore /mnt/safe/solon .solon
    """
    store = _store(from_)
    found, root = store.find(backup_id), Workspace.open(to).root
    with Late("restore", found.size) as late:
        backups.restore(store, found, root, late.heard)
    value = found.to_json() | {"restored": str(root)}
    print_result(as_json, value, [f"{visible(str(root))}: {_line(found)}"])


class Late:
    """A bar with the time left, once something takes over two seconds."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.is_shown = what, total, 0, False
        self.began, self.bar = time.monotonic(), BarProgress(err)

    def __enter__(self) -> Late:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def heard(self, count: int) -> None:
        self.done += count
        if not self.is_shown and time.monotonic() - self.began > LATE_S:
            self.is_shown = True
            self.bar.start(self.what, self.total // MB, "MB")
        if self.is_shown:
            self.bar.update(self.done // MB, self.total // MB)


def _store(path: str) -> Store:
    if "://" in path:
        rule, fix = "a folder is meant, not an address", "mount it, or copy the folder there"
        raise InputError(path, rule, fix, "DIR")
    return Store(Path(path).expanduser().absolute())


def _line(found: Backup) -> str:
    when = f"{found.made_at.astimezone():%Y-%m-%d %H:%M}"
    new = f"{human(found.new_bytes)} of them new"
    return f"{found.id}  {when}  {len(found.files)} files, {human(found.size)}, {new}"


def _since(older_than: str | None) -> datetime | None:
    """The moment before which a run began that may go."""
    if older_than is None:
        return None
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", older_than.strip())
    if found is None:
        rule, fix = "a number of hours, days or weeks", "write it as 12h, 30d or 8w"
        raise InputError(older_than, rule, fix, "--older-than")
    return datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})
