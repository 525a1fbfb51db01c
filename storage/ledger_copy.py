"""Copies of a ledger: of one moment, whole or not there; and the ledger itself, without its gaps.

DuckDB gives no space back for rows that were deleted, but writes a copy without it. A copy of the
file itself has its blocks where they were: most are the same in the next one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage import lease
from storage.durable import sync
from storage.ledger import ROW_GROUP_SIZE, STORAGE_VERSION, Connection, Ledger, quoted
from storage.lock import file_lock


def copy_to(ledger: Ledger, path: Path) -> None:
    """Copy the ledger's file as it is now, block for block. Others wait for as long as it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(ledger):
        with _attached(ledger):
            pass  # what a killed process left in a log beside the file becomes part of it
        shutil.copyfile(ledger.path, path)
        shutil.copymode(ledger.path, path)


def compact(ledger: Ledger, beside: Path) -> tuple[int, int]:
    """Put a copy without gaps in the ledger's place; bytes before and after.

    beside: where the copy is written, on the same file system. A kill leaves the ledger that was
    there, and there a part of a copy that the next one writes over.
    """
    before = ledger.path.stat().st_size
    _unlink(beside)
    with _locked(ledger):
        with _attached(ledger) as con:
            _copy(con, beside)
        if beside.stat().st_size < before:
            shutil.copymode(ledger.path, beside)
            beside.replace(ledger.path)
            sync(ledger.path.parent)
    _unlink(beside)
    return before, ledger.path.stat().st_size


@contextmanager
def _locked(ledger: Ledger) -> Iterator[None]:
    """The ledger's lock for longer than a transaction: while its file is copied or replaced."""
    lock, name = (ledger.path.with_suffix(end) for end in (".lock", ".host"))
    with file_lock(lock, ledger.wait_s, ledger.holder), lease.renewed(name):
        yield


@contextmanager
def _attached(ledger: Ledger) -> Iterator[Connection]:
    con = ledger._attach()
    try:
        yield con
    finally:
        ledger._detach(con)


def _copy(con: Connection, path: Path) -> None:
    options = f"(STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_SIZE})"
    con.execute(f"ATTACH {quoted(path)} AS copied {options}")
    try:
        con.execute("COPY FROM DATABASE ledger TO copied")
    finally:
        con.execute("DETACH copied")
    sync(path)


def _unlink(path: Path) -> None:
    for each in (path, path.with_name(path.name + ".wal")):
        each.unlink(missing_ok=True)
