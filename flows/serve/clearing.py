"""`solon gc`: what nothing needs any more, said before it goes; rows first, then files.

Rows go in one transaction, files once no row knows them: a kill at any moment leaves nothing that a
row names and is not there, and the next `solon gc` ends what this one began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flows.explain.overview import human, size_of
from flows.run.killed import end_killed_runs, killed_runs
from flows.serve.leftovers import ASIDE, Doomed, delete_aside, doomed, models_in_use, move_aside
from storage.clearing import clear, counts
from storage.errors import SolonError
from storage.keeping import Kept
from storage.ledger import Connection, Ledger
from storage.ledger_copy import compact
from storage.left import Left, left, open_runs
from storage.workspace import Workspace

COPY = f"{ASIDE}ledger.duckdb"


@dataclass
class Clearing:
    """What goes, or went: rows by table, files by where they are, bytes before and after."""

    rows: dict[str, int] = field(default_factory=dict)
    all_rows: int = 0
    files: list[Doomed] = field(default_factory=list)
    bytes: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    notes: list[str] = field(default_factory=list)
    gone: frozenset[str] = frozenset()  # ids of checkpoints and evaluations

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.files

    def to_json(self) -> dict[str, Any]:
        files = [{"path": str(each.path), "what": each.what} for each in self.files]
        sizes = {"before": self.before, "after": self.after, "of": dict(self.bytes)}
        return {"rows": self.rows, "files": files, "bytes": sizes, "notes": self.notes}


class _Undone(Exception):
    """Rolls a transaction back."""


class Cleaner:
    """One workspace. keep_runs: of every recipe the last so many runs are kept; since: and later
    ones."""

    def __init__(self, workspace: Workspace, keep_runs: int, since: datetime | None) -> None:
        self.workspace, self.wanted = workspace, (keep_runs, since)
        self.ledger = Ledger(workspace.ledger, holder="solon gc")

    def look(self) -> Clearing:
        """What would go. Nothing is changed."""
        found = Clearing(before=size_of(self.workspace.root))
        dead = {run["run_id"] for run in killed_runs(self.ledger)}
        try:
            with self.ledger.transaction() as con:
                if is_open := open_runs(con) - dead:
                    found.notes.append(_is_open(is_open))
                before = counts(con)
                there = self._cleared(con, found)
                after = counts(con)
                raise _Undone
        except _Undone:
            pass
        found.all_rows = sum(before.values())
        found.files = doomed(
            self.workspace, there, models_in_use(self.workspace, there), found.gone
        )
        for each in found.files:
            found.bytes[each.what] += size_of(each.path)
        share = 1 - sum(after.values()) / max(found.all_rows, 1)
        found.bytes["ledger"] = max(round(share * size_of(self.workspace.ledger)), 0)
        found.after = found.before - found.bytes.total()
        return found

    def clear(self) -> Clearing:
        """Have it go. Raises SolonError while a run is open, with nothing changed."""
        found = Clearing(before=size_of(self.workspace.root))
        end_killed_runs(self.ledger)
        with self.ledger.transaction() as con:
            _check_idle(con)
            there = self._cleared(con, found)
        self._clear_files(found, models_in_use(self.workspace, there))
        before, after = compact(self.ledger, self.workspace.tmp / COPY)
        found.bytes["ledger"] = before - after
        found.after = size_of(self.workspace.root)
        return found

    def _cleared(self, con: Connection, found: Clearing) -> Left:
        before = left(con, *self.wanted).ids
        found.rows = clear(con, Kept(con, *self.wanted))
        after = left(con, *self.wanted)
        found.gone = before - after.ids
        return after

    def _clear_files(self, found: Clearing, spared: frozenset[Any]) -> None:
        """Unless a run began since the rows went: it may be at what no row knows yet."""
        delete_aside(self.workspace)
        with self.ledger.transaction() as con:
            if is_open := open_runs(con):
                found.notes.append(f"{_is_open(is_open)}: files are left for the next solon gc")
                return
            found.files = doomed(self.workspace, left(con, *self.wanted), spared, found.gone)
            for each in found.files:
                found.bytes[each.what] += size_of(each.path)
            move_aside(self.workspace, found.files)
        delete_aside(self.workspace)


def lines(found: Clearing, is_done: bool) -> Iterator[str]:
    if found.rows:
        of = ", ".join(f"{n:,} {t}" for t, n in sorted(found.rows.items(), key=lambda e: -e[1]))
        about = "" if is_done else "about "
        yield f"rows: {of}; {about}{human(found.bytes['ledger'])} of the ledger"
    for what, count in sorted(Counter(each.what for each in found.files).items()):
        yield f"{what}: {count}, {human(found.bytes[what])}"
    yield from found.notes
    if found.is_empty:
        yield "nothing to clear: all that is there is needed"
    verb = "is now" if is_done else "would be"
    yield f"the workspace of {human(found.before)} {verb} {human(found.after)}"


def _check_idle(con: Connection) -> None:
    if is_open := open_runs(con):
        raise SolonError(f"{_is_open(is_open)}: wait for it to end, or stop it")


def _is_open(run_ids: frozenset[str]) -> str:
    return f"run {min(run_ids)} is open"
