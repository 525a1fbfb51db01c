"""The ledger of a workspace that one may only read: asked as any other, changed by nothing.

Apart from ledger.py, which evaluations are keyed by.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from storage.damage import one_line
from storage.errors import InputError, LedgerBusy
from storage.journal import journal_of
from storage.ledger import MIGRATIONS, Connection, Ledger, quoted
from storage.lock import POLL_S
from storage.workspace import READING


def ledger_at(path: Path, holder: str = "", recipe: str = "") -> Ledger:
    """The ledger of that file, as far as its folder's rights go."""
    lock = path.with_suffix(".lock")
    needed = [part for part in (path, lock) if part.exists()]
    may_write = all(os.access(part, os.W_OK) for part in (path.parent, *needed))
    kind = Ledger if may_write or not path.exists() else Readable
    return kind(path, holder=holder, recipe=recipe)


class Readable(Ledger):
    """A ledger without the right to write. Raises InputError where it is written to."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, rolled back at the end of the block, while no other process writes."""
        with _shared(self.path.with_suffix(".lock"), self.wait_s), one_line(self.path):
            con = self._attach()
            try:
                _check_current(con, self.path)
                con.begin()
                yield con
            except duckdb.InvalidInputException as error:
                if "read-only" not in str(error):
                    raise
                raise InputError(self.path.parent, "may only be read", READING) from None
            finally:
                self._detach(con)

    def _detach(self, con: Connection) -> None:
        """Let go of the file. A log that a kill left beside it stays: nothing is written here."""
        con.close()
        if self._instance:
            self._instance.execute("DETACH ledger")

    def _attached(self, instance: Connection, is_last_try: bool) -> bool:
        if journal_of(self.path).exists():
            rule = "a kill broke off a write to its ledger, and it may only be read"
            raise InputError(self.path.parent, rule, "open it once where it may be written to")
        instance.execute(f"ATTACH {quoted(self.path)} AS ledger (READ_ONLY)")
        return True


def _check_current(con: Connection, path: Path) -> None:
    done = con.execute("SELECT max(number) FROM migrations").fetchall()[0][0]
    newest = max(int(file.name[:4]) for file in MIGRATIONS.iterdir() if file.name.endswith(".sql"))
    if done != newest:
        rule = f"its ledger is of another version ({done}, not {newest}), and may only be read"
        fix = "open it once where it may be written to" if done < newest else "upgrade Solon"
        raise InputError(path.parent, rule, fix)


@contextmanager
def _shared(lock: Path, wait_s: float) -> Iterator[None]:
    """Keep writers out, where there is a lock to hold."""
    if not os.access(lock, os.R_OK):  # there is none, or it is its owner's alone
        yield
        return
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LedgerBusy(f"{lock}: locked for {wait_s:g} s; wait for it") from None
                time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)
