"""What a document is made of. Nothing here is escaped: each writer does that in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flows.explain.compare.words import Piece

Mark = Literal["", "better", "worse", "moved"]  # moved: of what is neither


@dataclass(frozen=True)
class Cell:
    """A figure in a table: itself, its interval, and how it moved. `mark` colours the last."""

    text: str
    spread: str = ""
    change: str = ""
    mark: Mark = ""

    @property
    def plain(self) -> str:
        """All of it on one line."""
        spread = f"({self.spread})" if self.spread else ""
        return " ".join(part for part in (self.text, spread, self.change) if part)


@dataclass(frozen=True)
class Entry:
    """Something with texts of its own, as a row of data; its texts by name, in pieces.

    `is_beside`: its texts stand side by side where there is room, as answers to one question.
    """

    title: str
    facts: str
    texts: Sequence[tuple[str, Sequence[Piece]]]
    is_beside: bool = False


@dataclass(frozen=True)
class Picture:
    """A drawing. `name`: its file's, `text`: what it shows, for those who do not see it.

    `is_chart`: drawn by `charts`, which a page holds as it is and gives its own colours.
    """

    name: str
    text: str
    svg: str
    is_chart: bool = False


@dataclass(frozen=True)
class Section:
    """Shown in the order of its fields: a list, pictures, a table, entries.

    `narrow`: how many columns of the table fit into the 80 characters of a terminal. `is_folded`:
    a page shows its title until it is opened, and a terminal leaves it out.
    """

    title: str
    lines: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | Cell]] = ()
    entries: Sequence[Entry] = ()
    narrow: int = 6
    is_folded: bool = False


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


def plain(cell: str | Cell) -> str:
    """A cell as one text."""
    return cell if isinstance(cell, str) else cell.plain
