"""What is wrong with a workspace, and who hears how far looking has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

BACKUP: Final = "restore the ledger from a backup"


@dataclass(frozen=True)
class Fault:
    """subject: an id, or a file's place in the workspace. rule: what is not as it must be. repair:
    what mends it.
    """

    subject: str
    rule: str
    repair: str = BACKUP


@dataclass
class Looked:
    """What was looked at. counts: how many of each thing; skipped: what was not, and why."""

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number


class Hears(Protocol):
    """Hears how far a step is, as flows.run.progress.Progress."""

    def start(self, step: str, total: int, unit: str) -> None: ...
    def update(self, done: int, total: int, note: str = "") -> None: ...
    def finish(self, summary: str) -> None: ...
