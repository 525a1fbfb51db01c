"""A report as Markdown. Text from models and data stands in escaped cells or in fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flows.explain.compare import tables
from flows.explain.compare.report import (
    CheckpointDiff,
    ConstitutionDiff,
    FieldChange,
    Report,
    SnapshotDiff,
    TextChange,
)
from flows.explain.compare.text import visible
from flows.explain.compare.words import Piece, difference
from tasks.evaluation.escape import markdown_cell

PROMPT_CHARS = 200
MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def markdown(report: Report) -> str:
    """The whole report; word differences are marked [-removed-] and {+added+}."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Difference of two {report.a.kind}s"
    yield ""
    sides = ([letter, s.name, s.label, s.id] for letter, s in (("A", report.a), ("B", report.b)))
    yield from _table(("", "name", "what", "id"), sides)
    for line in (*tables.headline(report), *report.notes):
        yield f"- {markdown_cell(line)}"
    if report.checkpoint:
        yield from _checkpoint(report.checkpoint)
    if report.constitution:
        yield from _constitution(report.constitution)
    for snapshot in report.snapshots:
        yield from _snapshot(snapshot)


def _constitution(found: ConstitutionDiff) -> Iterator[str]:
    yield from ("", "## Constitution", "")
    for line in tables.effects(found):
        yield f"- {markdown_cell(line)}"
    for principle in found.principles:
        effect = tables.BRIEF_EFFECT[principle.effect]
        yield from ("", f"### {markdown_cell(principle.slug)}: {principle.change}, {effect}")
        yield from _fields(principle.fields, principle.change != "changed")
    if found.fields:
        yield from ("", "### The whole")
        yield from _fields(found.fields)


def _fields(fields: Iterable[FieldChange], effect_is_known: bool = False) -> Iterator[str]:
    for change in fields:
        yield from ("", f"{markdown_cell(tables.field_name(change, effect_is_known))}:")
        yield from _fenced(change.pieces)


def _snapshot(found: SnapshotDiff) -> Iterator[str]:
    yield from ("", f"## Snapshots of {found.rows} rows", "")
    if found.principles:
        yield from _table(tables.USE_COLUMNS, tables.use_rows(found))
        yield markdown_cell(tables.use_caption(found))
    for number, change in enumerate(found.texts, 1):
        yield from _text(number, change)
    if found.texts or found.left_out:
        yield from ("", tables.left_out_line(found))


def _text(number: int, change: TextChange) -> Iterator[str]:
    prompt = markdown_cell(change.prompt, PROMPT_CHARS) or "(empty)"
    yield from ("", f"### {number}. {prompt}", "")
    yield markdown_cell(tables.principles_of(change)) + (", flipped" if change.is_flip else "")
    for part, before, after in tables.text_parts(change):
        yield from ("", f"{part}:")
        yield from _fenced(difference(before or "", after or ""))


def _checkpoint(found: CheckpointDiff) -> Iterator[str]:
    yield from ("", "## Key", "")
    yield from _table(tables.COMPONENT_COLUMNS, tables.component_rows(found))
    if found.metrics:
        yield from ("## Measures", "")
        yield from _table(tables.METRIC_COLUMNS, tables.metric_rows(found))


def _table(columns: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield f"| {' | '.join(markdown_cell(cell) for cell in row)} |"
    yield ""


def _fenced(pieces: Iterable[Piece]) -> Iterator[str]:
    """A block that nothing inside can end: its fence is longer than any run of backticks in it."""
    text = "".join(
        MARKS[piece.kind][0] + visible(piece.text) + MARKS[piece.kind][1] for piece in pieces
    )
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from ("", f"{fence}text", text, fence)
