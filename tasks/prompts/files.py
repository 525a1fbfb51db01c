"""Rows of a file, one at a time, for every format we read.

Memory does not grow with the file: lines, elements and record batches are read as they are needed.
A row that cannot be read is a RowError value in its place; a file that cannot be read raises.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InputError
from tasks.prompts.json_list import list_elements
from tasks.prompts.rows import READ_COLUMNS, RowError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
MAX_ROW = 16 << 20  # bytes of one line, characters of one list element: more is no prompt
_CHUNK = 1 << 20
_BATCH_ROWS = 1024

Rows = Iterator[tuple[int, Any]]


def iter_rows(path: Path) -> Rows:
    """(1-based line or row number, row or RowError) of a file, by its suffix (also with `.gz`).

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
            yield from _READERS[kind](stream, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        rule = f"is not a complete gzip file ({error})"
        raise InputError(path, rule, "download or compress it again") from error
    except OSError as error:
        rule = f"cannot be read ({error.strerror or error})"
        raise InputError(path, rule, "check the file") from error


def _json_rows(stream: IO[bytes], path: Path) -> Rows:
    """A JSON list, or else one object a line."""
    head = _text_head(stream, path).removeprefix(codecs.BOM_UTF8)
    return _list_rows(stream, path) if head.lstrip()[:1] == b"[" else _lines(stream, path)


def _csv_rows(stream: IO[bytes], path: Path) -> Rows:
    """Records of a CSV file with a header line; numbered by the line they end on."""
    _text_head(stream, path)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text)
    while True:
        row: Any
        try:
            row = next(reader)
            if None in row:
                row = RowError("malformed", "more cells than the header has")
        except StopIteration:
            return
        except csv.Error as error:
            row = RowError("malformed", f"bad CSV: {error}")
        yield reader.line_num, row


def _lines(stream: IO[bytes], path: Path) -> Rows:
    """JSON Lines. Blank lines are no rows; a line longer than MAX_ROW is skipped, not held."""
    _text_head(stream, path)
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


def _parquet_rows(stream: IO[bytes], path: Path) -> Rows:
    """Rows of a Parquet file; only columns that can matter are read."""
    if isinstance(stream, gzip.GzipFile):  # Parquet starts at its end: it needs a real file
        with tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(stream, plain)
            plain.seek(0)
            yield from _parquet_rows(plain, path)
        return
    with _whole(path, "Parquet"):
        table = pq.ParquetFile(stream)
        wanted = [name for name in table.schema_arrow.names if name in READ_COLUMNS]
        yield from _numbered(table.iter_batches(_BATCH_ROWS, columns=wanted or None))


def _arrow_rows(stream: IO[bytes], path: Path) -> Rows:
    """Rows of an Arrow stream file, as `datasets.save_to_disk` writes them."""
    with _whole(path, "Arrow stream"), pa.ipc.open_stream(stream) as batches:
        wanted = [name for name in batches.schema.names if name in READ_COLUMNS]
        yield from _numbered(batch.select(wanted) if wanted else batch for batch in batches)


def _numbered(batches: Iterable[pa.RecordBatch]) -> Rows:
    number = 0
    for batch in batches:
        for start in range(batch.num_rows):
            number += 1
            try:
                yield number, batch.slice(start, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield number, RowError("not_utf8", "a cell is not UTF-8")


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Raise InputError where the file turns out to be none of its kind, or torn."""
    try:
        yield
    except pa.ArrowException as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"is not a whole {kind} file ({first})", "write it again") from error


def _text_head(stream: IO[bytes], path: Path) -> bytes:
    """The first bytes of a text file, left unread. Raises InputError where they are no text.

    No text means: over 30 % of the decoded characters are control characters or replacements.
    """
    head: bytes = stream.peek(4096)[:4096]  # type: ignore[attr-defined]
    text = head.decode("utf-8", "replace")
    odd = sum(character == "\ufffd" or character < " " for character in text)
    odd -= sum(text.count(character) for character in "\t\n\r")
    if odd > 0.3 * len(text):
        raise InputError(path, "holds binary data, not UTF-8 text", "save it as UTF-8 text")
    return head


_READERS: dict[str, Callable[[IO[bytes], Path], Rows]] = {
    ".json": _json_rows,
    ".jsonl": _lines,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}
