"""What a document is made of. Nothing here is escaped: each writer does that in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.explain.compare.words import Piece


@dataclass(frozen=True)
class Entry:
    """Something with texts of its own, as a row of data; its texts by name, in pieces."""

    title: str
    facts: str
    texts: Sequence[tuple[str, Sequence[Piece]]]


@dataclass(frozen=True)
class Picture:
    """A drawing. `name`: its file's, `text`: what it shows, for those who do not see it."""

    name: str
    text: str
    svg: str


@dataclass(frozen=True)
class Section:
    """Shown in the order of its fields: a list, pictures, a table, entries.

    `narrow`: how many columns of the table fit into the 80 characters of a terminal.
    """

    title: str
    lines: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    entries: Sequence[Entry] = ()
    narrow: int = 6


@dataclass(frozen=True)
class Document:
    """`name`: a page's title. `author`: the command that wrote it; `end`: a last sentence."""

    name: str
    title: str
    lines: Sequence[str]
    sections: Sequence[Section]
    author: str
    end: str = ""

    @property
    def pictures(self) -> list[Picture]:
        return [picture for section in self.sections for picture in section.pictures]
