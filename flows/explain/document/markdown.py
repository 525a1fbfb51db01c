"""A document as Markdown. Text from models and data stands in escaped cells or in fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flows.explain.compare.words import marked
from flows.explain.document.parts import Document, Entry, plain
from flows.explain.show import markdown_table
from tasks.evaluation.escape import markdown_cell

TITLE_CHARS = 200


def markdown(document: Document) -> str:
    """The whole document; word differences are marked [-removed-] and {+added+}, and pictures lie
    in files beside it.
    """
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {markdown_cell(document.title)}", "")
    yield from _list(document.lines)
    for section in document.sections:
        yield from ("", f"## {markdown_cell(section.title)}", "")
        yield from _list(section.lines)
        for picture in section.pictures:
            yield from ("", f"![{markdown_cell(picture.text)}]({picture.name})")
        if section.rows:
            rows = (tuple(map(plain, row)) for row in section.rows)
            yield from ("", *markdown_table(section.columns, rows))
        for number, entry in enumerate(section.entries, 1):
            yield from ("", f"### {number}. {markdown_cell(entry.title, TITLE_CHARS)}")
            yield from _entry(entry)


def _entry(entry: Entry) -> Iterator[str]:
    if entry.facts:
        yield from ("", markdown_cell(entry.facts))
    for name, pieces in entry.texts:
        yield from ("", f"{markdown_cell(name)}:", "")
        yield from _fenced(marked(pieces))


def _list(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {markdown_cell(line)}" for line in lines)


def _fenced(text: str) -> Iterator[str]:
    """A block that nothing inside can end: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", text, fence)
