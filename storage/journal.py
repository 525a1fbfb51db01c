"""A rollback journal: what a kill may tear of the ledger's file is kept beside it until written.

DuckDB's checkpoint writes new blocks, then the header that points at them; a kill before that
leaves the file as it was and the log (WAL) with what was committed. But it adds to blocks of
metadata where they are, and those the old header needs too (seen with 2.0.0 and 2.0.1). A block is
256 kB under one checksum, and Linux ends the write of a killed process between two pages: half a
block is a file that nobody can open, and one of two blocks may be too. So those blocks are copied
first, and put back where the header shows that the checkpoint did not get through.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from storage.durable import sync
from storage.errors import SolonError

HEADERS = 12288  # bytes before the first block: the file's header, and two that take turns
BLOCK = struct.Struct("<QQ")  # before a block in the journal: its place in the file, its bytes
METADATA = "SELECT DISTINCT block_id FROM pragma_metadata_info('ledger') WHERE block_id >= 0"
BLOCK_SIZE = "SELECT block_size FROM pragma_database_size() WHERE database_name = 'ledger'"


def journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


@contextmanager
def journalled(con: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    """Within the block, `con` may be closed and its ledger, the file `path`, be checkpointed.

    The file stays open for as long: closing it would take DuckDB's own lock from this process.
    Raises SolonError where the journal cannot be written: the log keeps what was committed then.
    """
    log = path.with_name(f"{path.name}.wal")
    if not log.exists() or not log.stat().st_size:
        yield  # nothing was written: there will be no checkpoint
        return
    size = int(con.execute(BLOCK_SIZE).fetchall()[0][0])
    places = sorted(HEADERS + number * size for (number,) in con.execute(METADATA).fetchall())
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _keep(descriptor, places, size, journal_of(path))
        except BaseException as error:  # Ctrl-C too: no checkpoint without a journal
            con.execute("USE memory; SET checkpoint_on_detach = 'DISABLED'; DETACH ledger")
            if isinstance(error, OSError):
                what = f"its journal cannot be written ({error.strerror})"
                raise SolonError(f"{path}: {what}") from error
            raise
        yield
        journal_of(path).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _keep(descriptor: int, places: list[int], size: int, journal: Path) -> None:
    beside = journal.with_name(f"{journal.name}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(os.pread(descriptor, HEADERS, 0))
            for place in places:
                block = os.pread(descriptor, size, place)
                file.write(BLOCK.pack(place, len(block)) + block)
        sync(beside)
        beside.replace(journal)
    finally:
        beside.unlink(missing_ok=True)
    sync(journal.parent)


def roll_back(path: Path) -> None:
    """Put back what a checkpoint that was killed may have torn. Whoever calls this has the lock.

    Raises BlockingIOError while another program has the file open.
    """
    journal = journal_of(path)
    if not journal.exists():
        return
    if path.exists():
        with journal.open("rb") as kept, path.open("r+b", buffering=0) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kind of lock that DuckDB takes
            if kept.read(HEADERS) == os.pread(file.fileno(), HEADERS, 0):
                while head := kept.read(BLOCK.size):
                    place, length = BLOCK.unpack(head)
                    os.pwrite(file.fileno(), kept.read(length), place)
                os.fsync(file.fileno())
    journal.unlink()
