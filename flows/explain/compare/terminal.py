"""A report for a person at a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.explain.compare.describe import Change, Section, headline, sections
from flows.explain.compare.report import Report
from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import in_terminal
from flows.explain.show import table

TITLE_CHARS = 72
MAX_COLUMNS = 6  # more do not fit into 80 characters


def show(report: Report, console: Console) -> None:
    """Print the report; nothing in it is markup, and no control character reaches the terminal."""
    for part in _parts(report):
        console.print(part, soft_wrap=False, markup=False, highlight=False)


def _parts(report: Report) -> Iterator[RenderableType]:
    for line in headline(report):
        yield Text(visible(line))
    for section in sections(report):
        yield Text(f"\n{visible(section.title)}", "bold underline")
        for line in section.lines:
            yield Text(visible(line), "dim")
        if section.rows:
            yield _table(section)
        for number, change in enumerate(section.changes, 1):
            yield from _change(number, change)


def _change(number: int, change: Change) -> Iterator[RenderableType]:
    yield Text(f"\n{number}. {one_line(change.title, TITLE_CHARS)}", "bold")
    if change.facts:
        yield Text(f"   {visible(change.facts)}", "dim")
    for name, pieces in change.texts:
        yield Text(f"   {visible(name)}", "cyan")
        yield Padding(in_terminal(pieces), (0, 0, 0, 5), expand=False)


def _table(section: Section) -> Table:
    rows = (row[:MAX_COLUMNS] for row in section.rows)
    made = table("", section.columns[:MAX_COLUMNS], rows)
    made.box, made.padding, made.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    return made
