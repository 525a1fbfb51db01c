"""A report for a person at a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.explain.compare import tables
from flows.explain.compare.report import (
    CheckpointDiff,
    ConstitutionDiff,
    FieldChange,
    Report,
    SnapshotDiff,
    TextChange,
)
from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import difference, in_terminal

CELL_CHARS = 48


def show(report: Report, console: Console) -> None:
    """Print the report; nothing in it is markup, and no control character reaches the terminal."""
    for part in _parts(report):
        console.print(part, soft_wrap=False, markup=False, highlight=False)


def _parts(report: Report) -> Iterator[RenderableType]:
    for letter, side in (("A", report.a), ("B", report.b)):
        yield Text(f"{letter}  {visible(side.name)}", "bold")
        yield Text(f"   {visible(side.label)}\n   {visible(side.id)}")
    for line in (*tables.headline(report), *report.notes):
        yield Text(f"\n{visible(line)}")
    if report.checkpoint:
        yield from _checkpoint(report.checkpoint)
    if report.constitution:
        yield from _constitution(report.constitution)
    for snapshot in report.snapshots:
        yield from _snapshot(snapshot)


def _constitution(found: ConstitutionDiff) -> Iterator[RenderableType]:
    yield _heading("Constitution")
    for line in tables.effects(found):
        yield Text(line, "dim")
    for principle in found.principles:
        title = Text(f"\n{visible(principle.slug)}", "bold")
        title.append(f"  {principle.change}, {tables.BRIEF_EFFECT[principle.effect]}", "dim")
        yield title
        yield from _fields(principle.fields, principle.change != "changed")
    if found.fields:
        yield Text("\nthe whole", "bold")
        yield from _fields(found.fields)


def _fields(
    fields: Iterable[FieldChange], effect_is_known: bool = False
) -> Iterator[RenderableType]:
    for change in fields:
        yield Text(f"  {visible(tables.field_name(change, effect_is_known))}", "cyan")
        yield _indented(in_terminal(change.pieces), 4)


def _snapshot(found: SnapshotDiff) -> Iterator[RenderableType]:
    yield _heading(f"Snapshots of {found.rows} rows")
    if found.principles:
        yield _table(tables.USE_COLUMNS[:-1], (row[:-1] for row in tables.use_rows(found)))
        yield Text(tables.use_caption(found), "dim")
    for number, change in enumerate(found.texts, 1):
        yield from _text(number, change)
    if found.texts or found.left_out:
        yield Text(f"\n{tables.left_out_line(found)}", "dim")


def _text(number: int, change: TextChange) -> Iterator[RenderableType]:
    yield Text(f"\n{number}. {one_line(change.prompt, 72)}", "bold")
    flip = ", flipped" if change.is_flip else ""
    yield Text(f"   {visible(tables.principles_of(change))}{flip}", "dim")
    for part, before, after in tables.text_parts(change):
        yield Text(f"   {part}", "cyan")
        yield _indented(in_terminal(difference(before or "", after or "")), 5)


def _checkpoint(found: CheckpointDiff) -> Iterator[RenderableType]:
    yield _heading("Key")
    yield _table(tables.COMPONENT_COLUMNS, tables.component_rows(found))
    if found.metrics:
        yield _heading("Measures")
        yield _table(tables.METRIC_COLUMNS, tables.metric_rows(found))


def _table(columns: Iterable[str], rows: Iterable[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell, CELL_CHARS)) for cell in row))
    return table


def _indented(text: Text, columns: int) -> Padding:
    return Padding(text, (0, 0, 0, columns), expand=False)


def _heading(title: str) -> Text:
    return Text(f"\n{title}", "bold underline")
