"""What DuckDB says of a file that is not as it was written, or cannot be, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from storage.errors import SolonError

DAMAGED = re.compile(
    r"Corrupt|not a valid DuckDB|Could not read enough|Failure while replaying WAL"
    r"|Serialization Error|database has been invalidated|Failed to deserialize"
)
FIX = "restore it from a backup; artifacts and reports are not touched"


class LedgerDamaged(SolonError):
    """The ledger's file, or the log beside it, was torn or changed by something else than Solon."""

    exit_code = 2


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Raise LedgerDamaged where the file was torn or changed, SolonError where the disk says no;
    what is wrong with a statement stays as it is.
    """
    try:
        yield
    except duckdb.Error as error:
        reason = " ".join(str(error).split())
        if DAMAGED.search(reason):
            raise LedgerDamaged(f"{path}: the ledger is damaged: {reason}; {FIX}") from error
        if isinstance(error, duckdb.IOException) or type(error) is duckdb.Error:
            raise SolonError(f"{path}: {reason}") from error
        raise
