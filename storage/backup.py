"""A workspace into a store of backups, while runs go on; and out of it, to another place.

The ledger first, in one moment, under its lock; then the files that it names, which are there
before the ledger knows them and do not change. Not kept: work in progress (tmp, state), caches, and
the server's own folder, which has the login.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.artifacts import MANIFEST, artifact_path, listed_files
from storage.errors import ArtifactBroken, InputError
from storage.ids import digest
from storage.journal import HEADERS
from storage.ledger import Ledger, now
from storage.ledger_copy import copy_to
from storage.lock import file_lock
from storage.object_store import CHUNK, Backup, Entry, Heard, Store
from storage.workspace import Workspace

NOT_KEPT = frozenset({"tmp", "state", "prefect"})
CACHES = frozenset({"models/digests.json", "models/templates.json"})
PASSED_ON = "it was going on when this workspace was backed up"
LOCK = "keep.lock"
COPY = "gc-backup.duckdb"


@contextmanager
def keeping(workspace: Workspace, holder: str) -> Iterator[None]:
    """Clearing and backing up take turns. Raises LedgerBusy where another is at it."""
    with file_lock(workspace.root / LOCK, 0, holder):
        yield


def back_up(workspace: Workspace, store: Store, heard: Heard) -> Backup:
    """Add a backup to a store. What a kill leaves of it is no backup; the earlier ones stay."""
    if not workspace.ledger.exists():
        raise InputError(workspace.root, "there is no workspace to back up", "set SOLON_HOME to it")
    copy = workspace.tmp / COPY
    try:
        copy_to(Ledger(workspace.ledger, holder="solon backup"), copy)
        known = Ledger(copy).query("SELECT checkpoint_id AS id FROM checkpoints ORDER BY id")
        entries = [_ledger_entry(store, copy, workspace.ledger.name, heard)]
    finally:
        for left_over in (copy, copy.with_suffix(".lock")):
            left_over.unlink(missing_ok=True)
    left_out = [f"{path.relative_to(workspace.root)}: a link" for path in links(workspace)]
    for row in known:
        try:
            entries += _artifact(workspace, store, row["id"], heard)
        except ArtifactBroken as error:
            left_out.append(f"{row['id']}: {error}")
    for path in others(workspace):
        try:
            entries.append(_kept(workspace, store, path, heard))
        except FileNotFoundError:  # a report that is written anew, a log that is cleared
            continue
    at = now()
    name = digest(f"{at} {entries}".encode())[:12]
    place = str(workspace.root)
    made = Backup(name, at, place, tuple(entries), store.new_bytes, tuple(left_out))
    store.add(made)
    return made


def _artifact(workspace: Workspace, store: Store, artifact_id: str, heard: Heard) -> list[Entry]:
    """Its files, each as its manifest says: what the store has of them is not read again.

    Raises ArtifactBroken where one is not, and the store has not got it.
    """
    folder, entries = artifact_path(workspace, artifact_id), []
    for name, size, known in listed_files(folder):
        path = folder / name
        if store.has(known, size):
            entries.append(Entry(path.relative_to(workspace.root).as_posix(), size, (known,)))
            heard(size)
            continue
        try:
            entries.append(_kept(workspace, store, path, heard))
        except FileNotFoundError:
            raise ArtifactBroken(f"{name} is missing") from None
        if entries[-1].objects != (known,):
            raise ArtifactBroken(f"the content of {name} is not what was written")
    return [*entries, _kept(workspace, store, folder / MANIFEST, heard)]


def bytes_of(workspace: Workspace) -> int:
    """About how many bytes a backup has to look at."""
    files = (*others(workspace), *_files(workspace.artifacts), workspace.ledger)
    return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def others(workspace: Workspace) -> Iterator[Path]:
    """All files that are kept but the ledger and artifacts."""
    return (path for path in _others(workspace) if not path.is_symlink())


def links(workspace: Workspace) -> Iterator[Path]:
    """Links in the place of what would be kept: where they lead is not the workspace's."""
    found = (path for path in _others(workspace) if path.is_symlink())
    return (path for path in found if workspace.logs not in path.parents)  # trackers make some


def _others(workspace: Workspace) -> Iterator[Path]:
    for top in sorted(workspace.root.glob("*")):
        is_ledgers = top.name.startswith(workspace.ledger.name)
        is_of_now = top.suffix in (".lock", ".host")
        is_kept = not is_ledgers and top.name not in NOT_KEPT and not is_of_now
        if is_kept and top != workspace.artifacts:
            for path in _files(top):
                if str(path.relative_to(workspace.root)) not in CACHES:
                    yield path


def _files(top: Path) -> Iterator[Path]:
    """The regular files and the links at or below a path; no link is followed."""
    if top.is_file() or top.is_symlink():
        yield top
        return
    for folder, folders, names in os.walk(top):
        for path in sorted(Path(folder, name) for name in (*names, *folders)):
            if path.is_file() or path.is_symlink():
                yield path


def _kept(workspace: Workspace, store: Store, path: Path, heard: Heard) -> Entry:
    with path.open("rb") as source:
        made = store.keep(source, -1, heard)
        size = source.tell()
    return Entry(path.relative_to(workspace.root).as_posix(), size, (made,))


def _ledger_entry(store: Store, copy: Path, name: str, heard: Heard) -> Entry:
    """In pieces of a few blocks: those that did not change since the last backup are there."""
    size, pieces = copy.stat().st_size, []
    with copy.open("rb") as source:
        pieces.append(store.keep(source, HEADERS, heard))
        while source.tell() < size:
            pieces.append(store.keep(source, CHUNK, heard))
    return Entry(name, size, tuple(pieces))


def restore(store: Store, found: Backup, root: Path, heard: Heard) -> Workspace:
    """Write a backup's files to a new workspace, every one checked: all of it, or nothing.

    InputError where something is there already. Runs that were going on are closed as failed.
    """
    if os.path.lexists(root) and (not root.is_dir() or any(root.iterdir())):
        rule = "there is something here already, and nothing is written over"
        raise InputError(root, rule, "name a folder that is new or empty", "WORKSPACE")
    root.parent.mkdir(parents=True, exist_ok=True)
    for left_over in root.parent.glob(f".{root.name}.restoring-*"):  # of one that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    beside = root.with_name(f".{root.name}.restoring-{uuid.uuid4().hex[:8]}")
    try:
        workspace = Workspace(beside).create()
        for entry in found.files:
            store.take(entry, beside / entry.file, heard)
        _close_runs(Ledger(workspace.ledger))
        if root.exists():
            root.rmdir()
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Workspace(root)


def _close_runs(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        con.execute(
            "UPDATE runs SET state = 'failed', message = ?, ended_at = ? WHERE state = 'running'",
            [PASSED_ON, now()],
        )
