"""Rows of a file, one at a time, for every format we read.

Memory does not grow with the file: lines, elements and record batches are read as they are needed.
A row that cannot be read is a RowError value in its place; a file that cannot be read raises.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InputError
from tasks.prompts.csv_rows import csv_rows
from tasks.prompts.encoding import as_utf8
from tasks.prompts.json_list import list_elements
from tasks.prompts.text_rows import text_rows
from tasks.prompts.turns import RowError
from tasks.prompts.workbook import workbook_rows

TEXTS = (".jsonl", ".json", ".csv", ".tsv", ".txt")
SUFFIXES = (*TEXTS, ".xlsx", ".parquet", ".arrow")
MAX_ROW = 16 << 20  # bytes of one line, characters of one list element: more is no prompt
_CHUNK = 1 << 20
_BATCH_ROWS = 1024

Rows = Iterator[tuple[int, Any]]
Columns = Collection[str] | None


def iter_rows(path: Path, columns: Columns = None, encoding: str = "utf-8") -> Rows:
    """(1-based line or row number, row or RowError) of a file, by its suffix (also with `.gz`).

    columns: all that matter (None: every one), so that a table's others need not be read.
    encoding: of a text file; UTF-16 with its mark is told by itself.
    Raises InputError where the file as a whole is missing, empty, binary, torn or of no known kind.
    """
    name = path.name.lower()
    kind = next((s for s in SUFFIXES if name.removesuffix(".gz").endswith(s)), None)
    if kind is None:
        rule = f"is not one of {', '.join(SUFFIXES)} (or these with .gz)"
        raise InputError(path, rule, "convert or rename it")
    if not path.is_file():
        raise InputError(path, "is not a file that exists", "check the path")
    if path.stat().st_size == 0:
        raise InputError(path, "is an empty file", "give a file with at least one row")
    try:
        opened = gzip.open(path, "rb") if name.endswith(".gz") else path.open("rb")
        with cast(IO[bytes], opened) as stream:
            if kind in TEXTS:
                yield from _text_rows(as_utf8(stream, encoding), path, kind)
            else:
                yield from _TABLES[kind](stream, path, columns)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        rule = f"is not a complete gzip file ({error})"
        raise InputError(path, rule, "download or compress it again") from error
    except UnicodeError as error:
        told = error.encoding if isinstance(error, UnicodeDecodeError) else encoding
        rule = f"is not text in {told} ({getattr(error, 'reason', error)})"
        raise InputError(path, rule, "name its encoding, as prompts.encoding=utf-8") from error
    except OSError as error:
        rule = f"cannot be read ({error.strerror or error})"
        raise InputError(path, rule, "check the file") from error


def file_digest(path: Path) -> str:
    """The hash of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _text_rows(stream: IO[bytes], path: Path, kind: str) -> Rows:
    head = _text_head(stream, path)
    if kind in (".csv", ".tsv"):
        return csv_rows(stream, path)
    if kind == ".txt":
        return text_rows(stream)
    is_list = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
    return _list_rows(stream, path) if kind == ".json" and is_list else _lines(stream)


def _lines(stream: IO[bytes]) -> Rows:
    """JSON Lines. Blank lines are no rows; a line longer than MAX_ROW is skipped, not held."""
    number = 0
    while raw := stream.readline(MAX_ROW):
        number += 1
        is_long = len(raw) == MAX_ROW and not raw.endswith(b"\n")
        while is_long and raw and not raw.endswith(b"\n"):
            raw = stream.readline(_CHUNK)
        if is_long:
            yield number, RowError("too_long", f"a line of more than {MAX_ROW} bytes")
        elif raw.strip():
            yield number, _json_line(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw)


def _json_line(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowError("not_utf8", f"byte {error.start} of the line is not UTF-8")
    except (ValueError, RecursionError) as error:
        return RowError("malformed", f"bad JSON: {error}")


def _list_rows(stream: IO[bytes], path: Path) -> Rows:
    """Elements of one JSON list; a list that is broken or cut off is refused as a whole."""
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape")
    number = 0
    try:
        for number, element in enumerate(list_elements(text, MAX_ROW), 1):
            yield number, element
    except ValueError as error:
        rule = f"is not a JSON list after element {number} ({error})"
        fix = "mend it, or write one object a line in a .jsonl file"
        raise InputError(path, rule, fix) from error


def _parquet_rows(stream: IO[bytes], path: Path, columns: Columns) -> Rows:
    """Rows of a Parquet file; only columns that can matter are read."""
    with _whole(path, "Parquet"), _seekable(stream) as file:
        table = pq.ParquetFile(file)
        wanted = _wanted(table.schema_arrow.names, columns)
        yield from _numbered(table.iter_batches(_BATCH_ROWS, columns=wanted))


def _arrow_rows(stream: IO[bytes], path: Path, columns: Columns) -> Rows:
    """Rows of an Arrow stream file, as `datasets.save_to_disk` writes them."""
    with _whole(path, "Arrow stream"), pa.ipc.open_stream(stream) as batches:
        wanted = _wanted(batches.schema.names, columns)
        yield from _numbered(_valid(batch.select(wanted)) for batch in batches)


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, whose offsets lead nowhere outside it: Arrow reads what they name unseen."""
    batch.validate(full=True)
    return batch


def _workbook_rows(stream: IO[bytes], path: Path, _: Columns) -> Rows:
    with _seekable(stream) as file:
        yield from workbook_rows(file, path)


def _wanted(there: list[str], columns: Columns) -> list[str]:
    """Those that matter; where there is none, all, so that an error can name them."""
    return [name for name in there if columns is None or name in columns] or there


@contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The stream, or its text unpacked: Parquet files and workbooks start at their end."""
    if not isinstance(stream, gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as plain:
        shutil.copyfileobj(stream, plain)
        plain.seek(0)
        yield plain


def _numbered(batches: Iterable[pa.RecordBatch]) -> Rows:
    number = 0
    for batch in batches:
        for start in range(batch.num_rows):
            number += 1
            try:
                yield number, batch.slice(start, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield number, RowError("not_utf8", "a cell is not UTF-8")
            except (ValueError, OverflowError) as error:  # a date of the year 300000
                yield number, RowError("malformed", f"a cell cannot be read: {error}")


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Raise InputError where the file turns out to be none of its kind, or torn."""
    try:
        yield
    except (pa.ArrowException, MemoryError) as error:  # a torn one may name any size
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"is not a whole {kind} file ({first})", "write it again") from error


def _text_head(stream: IO[bytes], path: Path) -> bytes:
    """The first bytes of a text file, left unread. Raises InputError where they are no text.

    No text means: over 5 % of the characters are control characters, or over 30 % no UTF-8.
    """
    head: bytes = stream.peek(4096)[:4096]  # type: ignore[attr-defined]
    text = head.decode("utf-8", "replace")
    odd = sum(character < " " and character not in "\t\n\r" for character in text)
    if odd > 0.05 * len(text):
        raise InputError(path, "holds binary data, not text", "save it as UTF-8 text")
    if text.count("\ufffd") > 0.3 * len(text):
        fix = "name its encoding, as prompts.encoding=windows-1252, or save it as UTF-8"
        raise InputError(path, "is not UTF-8 text", fix)
    return head


_TABLES: dict[str, Callable[[IO[bytes], Path, Columns], Rows]] = {
    ".xlsx": _workbook_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}
