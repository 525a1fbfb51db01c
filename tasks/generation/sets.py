"""Sets of rows that people bring, and exports that are taken back: what is kept of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from storage.ids import content_id

IMPORTED: Final = "imported"
SetKind = Literal["preferences", "demonstrations", "imported"]


@dataclass(frozen=True)
class BroughtSet:
    """A set, by the content of its files.

    digest: of its files. source: what it is called. ratio: its rows at most for every one made
    here; None for all. row_count: those that could be used.
    """

    kind: SetKind
    path: str
    digest: str
    source: str
    licence: str | None
    ratio: float | None
    row_count: int

    @property
    def set_id(self) -> str:
        return content_id("set", [self.kind, self.digest])


@dataclass(frozen=True)
class SetRow:
    """A pair or example of a set: its line in the file, and the principle that it names; of an
    import also the set of people's, and its licence.
    """

    row_id: str
    line: int
    principle: str | None = None
    source: str | None = None
    licence: str | None = None
