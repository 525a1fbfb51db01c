"""A report as Markdown. Text from models and data stands in escaped cells or in fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flows.explain.compare.describe import Change, headline, sections
from flows.explain.compare.report import Report
from flows.explain.compare.words import MARKS, Marks, marked
from flows.explain.show import markdown_table
from tasks.evaluation.escape import markdown_cell

TITLE_CHARS = 200


def markdown(report: Report, marks: Marks = MARKS, title_chars: int | None = TITLE_CHARS) -> str:
    """The whole report; word differences are marked [-removed-] and {+added+}."""
    return "\n".join(_lines(report, marks, title_chars)) + "\n"


def _lines(report: Report, marks: Marks, title_chars: int | None) -> Iterator[str]:
    yield from (f"# Difference of two {report.a.kind}s", "")
    yield from _list(headline(report))
    for section in sections(report):
        yield from ("", f"## {markdown_cell(section.title)}", "")
        yield from _list(section.lines)
        if section.rows:
            yield from ("", *markdown_table(section.columns, section.rows))
        for number, change in enumerate(section.changes, 1):
            yield from ("", f"### {number}. {markdown_cell(change.title, title_chars)}")
            yield from _change(change, marks)


def _change(change: Change, marks: Marks) -> Iterator[str]:
    if change.facts:
        yield from ("", markdown_cell(change.facts))
    for name, pieces in change.texts:
        yield from ("", f"{markdown_cell(name)}:", "")
        yield from _fenced(marked(pieces, marks))


def _list(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {markdown_cell(line)}" for line in lines)


def _fenced(text: str) -> Iterator[str]:
    """A block that nothing inside can end: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", text, fence)
