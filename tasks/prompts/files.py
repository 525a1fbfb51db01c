"""Rows of a file, one at a time, for every format we read.

Memory does not grow with the file: lines, elements and record batches are read as they are needed.
A row that cannot be read is a RowError value in its place; a file that cannot be read raises.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from storage.errors import InputError
from tasks.prompts.json_list import list_elements
from tasks.prompts.rows import RowError
from tasks.prompts.tables import arrow_rows, parquet_rows

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
MAX_ROW = 16 << 20  # bytes of one line, characters of one list element: more is no prompt
_CHUNK = 1 << 20

Rows = Iterator[tuple[int, Any]]


def iter_rows(path: Path) -> Rows:
    """(1-based line or row number, row or RowError) of a file, by its suffix (also with `.gz`).

    Raises InputError where the file as a whole is missing, empty, binary, torn or of no known kind.
    """
    kind = file_kind(path)
    if not path.is_file():
        raise InputError(str(path), "is not a file that exists", "check the path")
    if path.stat().st_size == 0:
        raise InputError(str(path), "is an empty file", "give a file with at least one row")
    try:
        with _opened(path) as stream:
            yield from _READERS[kind](stream, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            str(path), f"is not a complete gzip file ({error})", "download or compress it again"
        ) from error
    except OSError as error:
        raise InputError(
            str(path), f"cannot be read ({error.strerror or error})", "check the file"
        ) from error


def file_kind(path: Path) -> str:
    """The suffix that says how to read a file, without `.gz`. Raises InputError for another."""
    name = path.name.lower().removesuffix(".gz")
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    known = ", ".join(SUFFIXES)
    raise InputError(
        str(path), f"is not one of {known} (or these with .gz)", "convert or rename it"
    )


def _opened(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _json_rows(stream: IO[bytes], path: Path) -> Rows:
    """A JSON list, or else one object a line."""
    head = _text_head(stream, path)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        return _list_rows(stream, path)
    return _lines(stream)


def _jsonl_rows(stream: IO[bytes], path: Path) -> Rows:
    _text_head(stream, path)
    return _lines(stream)


def _csv_rows(stream: IO[bytes], path: Path) -> Rows:
    """Records of a CSV file with a header line; numbered by the line they end on."""
    _text_head(stream, path)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, RowError("malformed", f"bad CSV: {error}")
            continue
        if None in row:
            yield reader.line_num, RowError("malformed", "more cells than the header has")
        else:
            yield reader.line_num, row


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
            yield number, _json_line(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw)


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
        fix = "mend it, or write one object a line in a .jsonl file"
        raise InputError(
            str(path), f"is not a JSON list after element {number} ({error})", fix
        ) from error


def _text_head(stream: IO[bytes], path: Path) -> bytes:
    """The first bytes of a text file, left unread. Raises InputError where they are no text.

    No text means: over 30 % of the decoded characters are control characters or replacements.
    """
    head: bytes = stream.peek(4096)[:4096]  # type: ignore[attr-defined]
    text = head.decode("utf-8", "replace")
    odd = sum(character == "\ufffd" or character < " " for character in text)
    odd -= sum(text.count(character) for character in "\t\n\r")
    if odd > 0.3 * len(text):
        raise InputError(str(path), "holds binary data, not UTF-8 text", "save it as UTF-8 text")
    return head


_READERS: dict[str, Callable[[IO[bytes], Path], Rows]] = {
    ".json": _json_rows,
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
}
