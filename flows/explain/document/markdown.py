"""A document as Markdown. Text from models and data stands in escaped cells or in fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from flows.explain.compare.words import MARKS, Marks, marked
from flows.explain.document.parts import Document, Entry, Picture
from flows.explain.show import markdown_table
from tasks.evaluation.escape import markdown_cell

TITLE_CHARS = 200


def beside(picture: Picture) -> str:
    """A picture that lies in a file beside the document."""
    return f"![{markdown_cell(picture.text)}]({picture.name})"


def markdown(
    document: Document,
    marks: Marks = MARKS,
    title_chars: int | None = TITLE_CHARS,
    drawn: Callable[[Picture], str] = beside,
) -> str:
    """The whole document; word differences are marked [-removed-] and {+added+}.

    `drawn`: the line that stands for a picture.
    """
    return "\n".join(_lines(document, marks, title_chars, drawn)) + "\n"


def _lines(
    document: Document,
    marks: Marks,
    title_chars: int | None,
    drawn: Callable[[Picture], str],
) -> Iterator[str]:
    yield from (f"# {markdown_cell(document.title)}", "")
    yield from _list(document.lines)
    for section in document.sections:
        yield from ("", f"## {markdown_cell(section.title)}", "")
        yield from _list(section.lines)
        for picture in section.pictures:
            yield from ("", drawn(picture))
        if section.rows:
            yield from ("", *markdown_table(section.columns, section.rows))
        for number, entry in enumerate(section.entries, 1):
            yield from ("", f"### {number}. {markdown_cell(entry.title, title_chars)}")
            yield from _entry(entry, marks)


def _entry(entry: Entry, marks: Marks) -> Iterator[str]:
    if entry.facts:
        yield from ("", markdown_cell(entry.facts))
    for name, pieces in entry.texts:
        yield from ("", f"{markdown_cell(name)}:", "")
        yield from _fenced(marked(pieces, marks))


def _list(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {markdown_cell(line)}" for line in lines)


def _fenced(text: str) -> Iterator[str]:
    """A block that nothing inside can end: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", text, fence)
