"""`solon serve` through simulated nights: is anything growing that should not?

    python -m tests.benchmarks.soak [--nights 30] [--triggers 200] [--folder FOLDER] [--lock FILE]

One server and one worker over a tiny model and a scripted engine. The nights take turns: new words
for a principle through `amend`; new prompts, and a gate that nothing can pass; a run that is
cancelled at work; nothing new. In each some triggers of a flow of which everything is there, and at
its end `solon gc --yes`, as a timer would call it. Then everything in Prefect's database becomes a
day older: the server's own clean-up, made to keep three days where it keeps 90 and to look every
few seconds, has that night's share to remove.

Printed for each night: resident memory of server and worker, open files and processes of all of the
workspace, bytes of Prefect's database and of each folder, rows of the ledger; at the end what of
that grows (grown.py has the rule), but for the ledger, whose rows are what was made. Exit code 1
where something does. With a folder that has some nights already, it goes on after them. `--lock`:
nights begin while nobody else holds that file, for machines that others measure on.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from prefect import __version__ as prefect_version

from storage.ledger import Ledger
from tests.benchmarks.grown import Night, figures, told, verdict
from tests.flows.driven import ROOT, TINY
from tests.flows.served import Served, as_form, flow_processes, until

KINDS = ("edit", "quiet", "cancelled", "quiet", "prompts", "quiet", "cancelled", "quiet")
KEPT_DAYS = 3
SERVER = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(KEPT_DAYS * 86400),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "5",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{KEPT_DAYS}D",
}
TIMES = {"flow_run": "end_time", "events": "occurred", "event_resources": "occurred"}
SETTLE_S = 6.0  # a look of the server's clean-up, and what a worker still tells of a run
TURN_S = 110.0  # a lock is given back after the night in which it was held for so long


class Soak:
    """A workspace under `solon serve`, and the figures of its nights (FOLDER/nights.jsonl)."""

    def __init__(self, folder: Path, nights: int, triggers: int) -> None:
        self.home, self.file = folder / "home", folder / "nights.jsonl"
        self.nights, self.triggers = nights, triggers
        self.words, self.prompts = self.home / "words.yaml", self.home / "prompts.jsonl"
        if not self.file.exists():
            self._prepare()

    def _prepare(self) -> None:
        (self.home / "recipes").mkdir(parents=True)
        shutil.copy(ROOT / "constitution" / "default.yaml", self.words)
        self.file.touch()
        self._ask_also(range(30))
        smoke = ROOT / "flows" / "recipes" / "smoke.yaml"
        recipe = self.home / "recipes" / "soak.yaml"
        text = smoke.read_text(encoding="utf-8").replace("name: smoke", "name: soak")
        recipe.write_text(f"constitution: {json.dumps(str(self.words))}\n{text}", encoding="utf-8")

    def _ask_also(self, numbers: range) -> None:
        with self.prompts.open("a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"prompt": f"What is question {number} about?"}) + "\n"
                for number in numbers
            )

    def seen(self) -> list[Night]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def go_on(self, lock: Path | None) -> None:
        """The nights that are missing, under one server."""
        before = self.seen()
        if len(before) >= self.nights:
            return
        up = 1 + max((night["server"] for night in before), default=0)
        with turns(lock) as turn:
            turn()
            self.served = Served(self.home, **SERVER)
            try:
                for number in range(len(before), self.nights):
                    turn()
                    night = self.night(number) | {"server": up}
                    with self.file.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(night) + "\n")
                    print(told(night), flush=True)
            finally:
                self.served.stop()

    def night(self, number: int) -> Night:
        kind, begun = KINDS[number % len(KINDS)], time.monotonic()
        states = Counter([self._main(kind, number)])
        first, last = (self.triggers * n // self.nights for n in (number, number + 1))
        runs = [self._start("refresh") for _ in range(first, last)]
        states.update(self._ended(run) for run in runs)
        self.served.solon.run("gc", "--yes")
        age(self.home / "prefect" / "prefect.db")
        time.sleep(SETTLE_S)
        took = {"night": number + 1, "kind": kind, "seconds": round(time.monotonic() - begun, 1)}
        return took | {"runs": dict(states)} | figures(self.home)

    def _main(self, kind: str, number: int) -> str:
        """What is new that night, taken in; the state in which that run ended."""
        if kind == "edit":
            words = {"slug": "be-concise", "critique": f"Say what is too long, after {number}."}
            answer = {"edit": words, "samples": 0, "approve": "yes"}
            return self._ended(self._start("amend", **answer))
        if kind == "cancelled":
            return self._cancelled(f"generation.temperature={0.5 + number / 1000}")
        if kind == "prompts":
            self._ask_also(range(1000 + 2 * number, 1002 + 2 * number))
            return self._ended(self._start("nightly", "gate.rules.kl.max=-1"))
        return self._ended(self._start("nightly"))

    def _start(self, flow: str, *overrides: str, **parameters: Any) -> str:
        """Trigger a deployment as its form does; returns the id of the flow run."""
        settings = TINY | {"prompts.path": str(self.prompts), "prompts.limit": 10_000}
        said = [*as_form(settings), *overrides]
        given = {"recipe": "soak", "overrides": said} | parameters
        status, made = self.served.create(flow, given)
        assert status == 201, made
        return str(made["id"])

    def _ended(self, run: str) -> str:
        ends = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED")
        until(lambda: self.served.state(run) in ends, "a run")
        until(lambda: not flow_processes(run), "the end of its process")
        return self.served.state(run).lower()

    def _cancelled(self, setting: str) -> str:
        """A run that makes rows anew, cancelled as soon as it has made some."""
        before, run = self._rows("completions"), self._start("align", setting)
        until(lambda: self._rows("completions") > before, "rows")
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        assert self.served.api(f"flow_runs/{run}/set_state", state)[0] in (200, 201)
        return self._ended(run)

    def _rows(self, table: str) -> int:
        path = self.home / "ledger.duckdb"
        if not path.exists():
            return 0
        time.sleep(0.5)
        return int(Ledger(path).query(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def age(database: Path) -> None:
    """Make what is over a day older, in the columns that Prefect's clean-up goes by."""
    with closing(sqlite3.connect(database, timeout=60)) as db, db:
        for table, column in TIMES.items():
            later = f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-1 day') || '000'"
            db.execute(f"UPDATE {table} SET {column} = {later}")


@contextmanager
def turns(lock: Path | None) -> Iterator[Any]:
    """Yields a call that waits for the lock, or gives it back in between where it was held long."""
    if lock is None:
        yield lambda: None
        return
    with lock.open("a") as file:
        held_since = float("-inf")

        def turn() -> None:
            nonlocal held_since
            if time.monotonic() - held_since > TURN_S:
                fcntl.flock(file, fcntl.LOCK_UN)
                time.sleep(1)
                fcntl.flock(file, fcntl.LOCK_EX)
                held_since = time.monotonic()

        yield turn


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--nights", type=int, default=30, help="how many, those seen included")
    options.add_argument("--triggers", type=int, default=200, help="of a cached flow, in all")
    options.add_argument("--folder", type=Path, help="kept, and gone on with; else a fresh one")
    options.add_argument("--lock", type=Path, help="a file that others lock while they measure")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="solon-soak-") as fresh:
        soak = Soak((given.folder or Path(fresh)).resolve(), given.nights, given.triggers)
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"{given.nights} nights; Prefect {prefect_version}, Python {python}", flush=True)
        soak.go_on(given.lock)
        lines, is_growing = verdict(soak.seen())
    print("\n".join(lines))
    return 1 if is_growing else 0


if __name__ == "__main__":
    sys.exit(main())
