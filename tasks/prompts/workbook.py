"""Rows of an Excel workbook: its first sheet that is not hidden, under a line of names.

Numbers and dates are cells as any; of a formula what Excel last computed counts.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from storage.errors import InputError
from tasks.prompts.turns import RowError, holds

MAX_BYTES = 1 << 30  # unpacked: what is larger is no table of prompts
# What openpyxl raises for files that are none of its kind.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
    *(KeyError, ValueError, TypeError, IndexError, SyntaxError, AttributeError),
)


def workbook_rows(stream: IO[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    """(1-based row of the sheet, row or RowError). Raises InputError for what is no workbook."""
    rows = _cells(stream, path)
    header = next((cells for _, cells in rows if any(map(holds, cells))), ())
    names = [str(name).strip() if holds(name) else "" for name in header]
    for number, cells in rows:
        if any(map(holds, cells[len(names) :])):
            yield number, RowError("malformed", f"a cell beyond the header's {len(names)} columns")
        elif any(map(holds, cells)):
            yield number, dict(zip(names, cells, strict=False))


def _cells(stream: IO[bytes], path: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    import openpyxl  # takes a quarter of a second

    warnings.filterwarnings("ignore", module="openpyxl")  # of what a table does not need
    try:
        with zipfile.ZipFile(stream) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > MAX_BYTES:
            rule = f"unpacks to {size} bytes, at most {MAX_BYTES} are read"
            raise InputError(path, rule, "save the sheet as CSV")
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        for sheet in (shown or book.worksheets)[:1]:
            sheet.reset_dimensions()  # some writers state them wrongly
            yield from enumerate(sheet.iter_rows(values_only=True), 1)
    except BROKEN as error:
        rule = f"is not a whole Excel workbook ({str(error)[:80] or type(error).__name__})"
        raise InputError(path, rule, "save it again as .xlsx, or as CSV") from error
