"""Rows of a CSV file, read strictly: a fault costs the row it is in and no other.

The `csv` module joins all that follows a quote which is not closed into one cell. Here such a row
is left out alone: reading goes on at the line after the one it begins on. What a torn row of
several lines leaves behind is told by its cells and quotes, and left out as well.

Commas, semicolons and tabs are told by the header, or by Excel's first line "sep=;".
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from storage.errors import InputError
from tasks.prompts.turns import RowError

MAX_CHARS = 16 << 20  # of one cell, and of one line
DELIMITERS = ",;\t"
SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)\s*", re.IGNORECASE)
OPEN = "a quote is not closed, or not doubled within quotes"

Record = tuple[int, list[str] | RowError]


def csv_rows(stream: IO[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    """(line it begins on, row or RowError) of every record after the header.

    Raises InputError where the header itself cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CHARS))
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    records = _Records(lines, _delimiter(lines, path))
    for _, header in records:
        if isinstance(header, RowError):
            raise InputError(path, f"has a header in which {header.detail}", "mend its first line")
        records.width = len(header)
        names = [name.strip() for name in header]
        yield from ((line, _row(names, cells)) for line, cells in records)


def _row(names: list[str], cells: list[str] | RowError) -> Any:
    """The cells under the header's names; cells that are not there are null."""
    if isinstance(cells, RowError):
        return cells
    if any(cell.strip() for cell in cells[len(names) :]):
        detail = f"more cells ({len(cells)}) than the header has ({len(names)})"
        return RowError("malformed", f"{detail}: put a cell with the separator in it in quotes")
    missing = [None] * (len(names) - len(cells))
    return dict(zip(names, [*cells, *missing], strict=False))


class _Lines:
    """The lines of a text, counted; those of the last record can be put back.

    A line over MAX_CHARS is None: it is never held as a whole.
    """

    def __init__(self, text: IO[str]) -> None:
        self.text, self.number = text, 0
        self.held: list[str | None] = []
        self._back: deque[str | None] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else self._read()
        if line == "":
            raise StopIteration
        self.number += 1
        self.held.append(line)
        if line is None:
            raise RowError("too_long", f"a line of more than {MAX_CHARS} characters")
        return line

    def _read(self) -> str | None:
        line = piece = self.text.readline(MAX_CHARS)
        while len(piece) == MAX_CHARS and not piece.endswith(("\n", "\r")):
            piece = self.text.readline(MAX_CHARS)
        return line if line is piece or not piece else None

    def put_back(self, kept: int) -> None:
        """All but the first `kept` lines of the last record are read again."""
        self._back.extendleft(reversed(self.held[kept:]))
        self.number -= len(self.held[kept:])
        del self.held[kept:]


class _Records:
    """Records of cells. `width`: cells of the header, once it is known."""

    def __init__(self, lines: _Lines, delimiter: str) -> None:
        self.lines, self.delimiter, self.width = lines, delimiter, 0
        self._reader = csv.reader(lines, delimiter=delimiter, strict=True)
        self._torn_to = 0  # the last line that a faulty record may reach
        mark = re.escape(delimiter)
        cell = f'(?:"(?:[^"]|"")*"|[^"{mark}\r\n]*)'  # of RFC 4180: no quote within one without
        self._record = re.compile(f"{cell}(?:{mark}{cell})*\\s*")

    def __iter__(self) -> Iterator[Record]:
        while True:
            self.lines.held.clear()
            start = self.lines.number + 1
            try:
                cells = next(self._reader)
                if self._is_joined(cells) or (start <= self._torn_to and self._is_rest(cells)):
                    raise RowError("malformed", OPEN)
            except StopIteration:
                return
            except (csv.Error, RowError) as error:
                self._torn_to = max(self._torn_to, self.lines.number)
                self.lines.put_back(1)
                yield start, error if isinstance(error, RowError) else RowError("malformed", OPEN)
            else:
                if cells:  # a blank line has none
                    yield start, self._only_cell(cells)

    def _only_cell(self, cells: list[str]) -> list[str]:
        """Under a single name a line without quotes is one cell, whatever it holds."""
        if self.width == 1 < len(cells) and len(self.lines.held) == 1:
            line = self.lines.held[0] or ""
            return cells if '"' in line else [line.rstrip("\r\n")]
        return cells

    def _is_joined(self, cells: list[str]) -> bool:
        """Whether a stray quote made one record of lines of which each is a whole one."""
        rest = self.lines.held[1:]
        if not rest or not self.width or len(cells) == self.width:
            return False
        return all(len(self._alone(line or "")) == self.width for line in rest)

    def _is_rest(self, cells: list[str]) -> bool:
        """Whether a record within the reach of a faulty one is a part of that one's cell."""
        text = "".join(line or "" for line in self.lines.held)
        return bool(cells) and not (len(cells) == self.width and self._record.fullmatch(text))

    def _alone(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=self.delimiter, strict=True), [])
        except csv.Error:
            return []


def _delimiter(lines: _Lines, path: Path) -> str:
    """What parts the cells, by the first line, which is left unread unless it only names it."""
    first = next((line for line in lines if line.strip()), "")
    named = SEPARATOR.fullmatch(first)
    if named:
        return named[1]
    lines.put_back(0)
    bare = re.sub('"[^"]*"', "", first)
    usual = "\t" if ".tsv" in path.name.lower() else ","
    return max(usual + DELIMITERS, key=bare.count)
