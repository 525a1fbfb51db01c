"""Prompts of a plain text: a line each; where blank lines part the text, what is between them."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import IO, Any

from tasks.prompts.turns import RowError

MAX_LINE = 1 << 20  # bytes; more is no question
_LOOKED_AT = 1 << 20  # bytes in which a blank line must come to count as what parts the text

Line = tuple[int, bytes]


def text_rows(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """(1-based line it begins on, {"prompt": text} or RowError) of every question."""
    lines = enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1)
    seen: list[Line] = []
    size = 0
    for line in lines:
        seen.append(line)
        size += len(line[1])
        if size > _LOOKED_AT:
            break
    if seen:
        seen[0] = 1, seen[0][1].removeprefix(codecs.BOM_UTF8)
    every = chain(seen, lines)
    blocks = _blocks(every) if _is_parted(seen) else ([line] for line in every if line[1].strip())
    return ((block[0][0], _row(block)) for block in blocks)


def _is_parted(lines: list[Line]) -> bool:
    """Whether a blank line stands between two that are not."""
    parts = [is_blank for is_blank, _ in groupby(not raw.strip() for _, raw in lines)]
    return parts.count(False) > 1


def _blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    for is_blank, block in groupby(lines, lambda line: not line[1].strip()):
        if not is_blank:
            yield list(block)


def _row(block: list[Line]) -> Any:
    try:
        return {"prompt": b"".join(raw for _, raw in block).decode("utf-8")}
    except UnicodeDecodeError as error:
        return RowError("not_utf8", f"byte {error.start} is not UTF-8 (another encoding?)")
