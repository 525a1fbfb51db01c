"""A whole workspace looked at: keys and invariants, ids from their rows, files by hash. Reads only,
and holds the ledger for a part of a second at a time: a run beside it goes on."""

from __future__ import annotations

import time

from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.integrity.faults import Hears, Looked
from tasks.integrity.files import Files
from tasks.integrity.ids import look_at_ids, row_counts
from tasks.integrity.keys import INVARIANTS, KEYS, broken_keys
from tasks.integrity.pages import read_pages

NOT_MADE_ANEW = {
    "comparisons": "ids of comparisons: what the judge was asked is not in their rows",
    "task_requests": "ids of standard tasks' questions: what was asked is not in their rows",
}
MEGABYTE = 1_000_000


def verify(workspace: Workspace, ledger: Ledger, sample: int | None, hears: Hears) -> Looked:
    """Look at everything, or at `sample` rows a table, artifacts and models, chosen by chance.

    Raises LedgerDamaged where the ledger's own file cannot be read.
    """
    looked = Looked()
    if ledger.exists:
        _rows(ledger, looked, sample, hears)
    _files(workspace, ledger, looked, sample, hears)
    if sample is not None:
        looked.skipped.append(f"all but {sample} rows a table, artifacts and models, by chance")
    return looked


def _rows(ledger: Ledger, looked: Looked, sample: int | None, hears: Hears) -> None:
    counts = row_counts(ledger, sample)
    step = Step(hears, "keys and ids", sum(counts.values()), "rows")
    if sample is None:
        read_pages(ledger, looked)
    looked.faults += broken_keys(ledger)
    looked.count("rules between rows", len(KEYS) + len(INVARIANTS))
    look_at_ids(ledger, looked, sample, step.add)
    for table, why in NOT_MADE_ANEW.items():
        if ledger.query(f"SELECT 1 FROM {table} LIMIT 1"):
            looked.skipped.append(why)
    step.end()


def _files(
    workspace: Workspace, ledger: Ledger, looked: Looked, sample: int | None, hears: Hears
) -> None:
    files = Files(workspace, ledger, looked, sample)
    step = Step(hears, "files", max(files.size // MEGABYTE, 1), "MB", MEGABYTE)
    files.look(step.add)
    step.end()


class Step:
    """Says how far a step is, at which rate, and how long the rest takes."""

    def __init__(self, hears: Hears, name: str, total: int, unit: str, scale: int = 1) -> None:
        self._hears, self._total, self._unit, self._scale = hears, total, unit, scale
        self._done, self._started = 0, time.monotonic()
        hears.start(name, total, unit)

    def add(self, more: int) -> None:
        self._done += more
        done = min(self._done // self._scale, self._total)
        left = (self._total - done) * self._seconds / max(done, 1)
        self._hears.update(done, self._total, f"{self._rate} {left:.0f} s left")

    def end(self) -> None:
        self._hears.finish(f"{self._done // self._scale} {self._unit}, {self._rate}")

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self._started, 1e-3)

    @property
    def _rate(self) -> str:
        return f"{self._done / self._scale / self._seconds:.0f} {self._unit}/s"
