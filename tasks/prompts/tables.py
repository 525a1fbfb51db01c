"""Rows of Parquet and Arrow files, one record batch in memory at a time."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InputError
from tasks.prompts.rows import READ_COLUMNS, RowError

_BATCH_ROWS = 1024


def parquet_rows(stream: IO[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    """(1-based row number, row) of a Parquet file; only columns that can matter are read."""
    if isinstance(stream, gzip.GzipFile):  # Parquet starts at its end: it needs a real file
        with tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(stream, plain)
            plain.seek(0)
            yield from parquet_rows(plain, path)
        return
    try:
        table = pq.ParquetFile(stream)
        names = table.schema_arrow.names
        wanted = [name for name in names if name in READ_COLUMNS]
        batches = table.iter_batches(_BATCH_ROWS, columns=wanted or None)
        yield from _numbered(batches)
    except pa.ArrowException as error:
        raise _broken(path, "Parquet", error) from error


def arrow_rows(stream: IO[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    """(1-based row number, row) of an Arrow stream file, as `datasets.save_to_disk` writes them."""
    try:
        with pa.ipc.open_stream(stream) as batches:
            wanted = [name for name in batches.schema.names if name in READ_COLUMNS]
            yield from _numbered(batch.select(wanted) if wanted else batch for batch in batches)
    except pa.ArrowException as error:
        raise _broken(path, "Arrow stream", error) from error


def _numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Any]]:
    number = 0
    for batch in batches:
        for start in range(batch.num_rows):
            number += 1
            try:
                yield number, batch.slice(start, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield number, RowError("not_utf8", "a cell is not UTF-8")


def _broken(path: Path, kind: str, error: Exception) -> InputError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(str(path), f"is not a whole {kind} file ({first})", "write it again")
