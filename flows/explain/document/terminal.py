"""A document for a person at a terminal, readable at 80 columns; pictures are left out."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import in_terminal
from flows.explain.document.parts import Document, Entry, Section, plain
from flows.explain.show import table

TITLE_CHARS = 72


def show(document: Document, console: Console) -> None:
    """Print it; nothing in it is markup, and no control character reaches the terminal."""
    for part in _parts(document):
        console.print(part, soft_wrap=False, markup=False, highlight=False)


def _parts(document: Document) -> Iterator[RenderableType]:
    yield Text(visible(document.title), "bold")
    for line in document.lines:
        yield Text(visible(line))
    for section in document.sections:
        if section.is_folded or not (section.lines or section.rows or section.entries):
            continue
        yield Text(f"\n{visible(section.title)}", "bold underline")
        for line in section.lines:
            yield Text(visible(line), "dim")
        if section.rows:
            yield _table(section)
        for number, entry in enumerate(section.entries, 1):
            yield from _entry(number, entry)


def _entry(number: int, entry: Entry) -> Iterator[RenderableType]:
    yield Text(f"\n{number}. {one_line(entry.title, TITLE_CHARS)}", "bold")
    if entry.facts:
        yield Text(f"   {visible(entry.facts)}", "dim")
    for name, pieces in entry.texts:
        yield Text(f"   {visible(name)}", "cyan")
        yield Padding(in_terminal(pieces), (0, 0, 0, 5), expand=False)


def _table(section: Section) -> Table:
    rows = (tuple(map(plain, row[: section.narrow])) for row in section.rows)
    made = table("", section.columns[: section.narrow], rows)
    made.box, made.padding, made.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    return made
