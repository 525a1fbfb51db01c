"""A report as Markdown. Text from models and data stands in escaped cells or in fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flows.explain.compare.describe import Change, headline, sections, sides
from flows.explain.compare.report import Report
from flows.explain.compare.text import visible
from flows.explain.compare.words import marked
from flows.explain.show import markdown_table
from tasks.evaluation.escape import markdown_cell

TITLE_CHARS = 200


def markdown(report: Report) -> str:
    """The whole report; word differences are marked [-removed-] and {+added+}."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# Difference of two {report.a.kind}s", "")
    yield from (*markdown_table(("", "name", "what", "id"), sides(report)), "")
    yield from _list(headline(report))
    for section in sections(report):
        yield from ("", f"## {markdown_cell(section.title)}", "")
        yield from _list(section.lines)
        if section.rows:
            yield from (*markdown_table(section.columns, section.rows), "")
        if section.note:
            yield markdown_cell(section.note)
        for number, change in enumerate(section.changes, 1):
            yield from _change(number, change)
        if section.ending:
            yield from ("", markdown_cell(section.ending))


def _change(number: int, change: Change) -> Iterator[str]:
    yield from ("", f"### {number}. {markdown_cell(change.title, TITLE_CHARS)}")
    if change.facts:
        yield from ("", markdown_cell(", ".join(change.facts)))
    for text in change.texts:
        yield from ("", f"{markdown_cell(text.name)}:")
        yield from _fenced(visible(marked(text.pieces)))


def _list(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {markdown_cell(line)}" for line in lines)


def _fenced(text: str) -> Iterator[str]:
    """A block that nothing inside can end: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from ("", f"{fence}text", text, fence)
