"""What a kill leaves behind: runs that say they are running, workers without a parent.

A process is told from a later one with the same number by when it started. Where there is no
`/proc` (not Linux), start times are not compared and workers are not found.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.ledger import Ledger, Row, now
from storage.workspace import Workspace

PROC = Path("/proc")
CLOCK_S = 10.0  # how far the clocks of the ledger and of the kernel may be apart
ENDED = "its process {pid} ended without closing it: killed, or the machine went down"


@dataclass(frozen=True)
class Worker:
    """A worker process of this workspace; an orphan where its parent is not who started it."""

    pid: int
    spec: str
    is_orphan: bool


def is_alive(pid: int, since: datetime | None = None) -> bool:
    """Whether the process `pid` runs, and is the one that ran at `since`."""
    if not PROC.is_dir():
        return _answers(pid)
    stat = _stat(pid)
    if stat is None or stat[0] == "Z":
        return False
    return since is None or _started(stat) <= since.timestamp() + CLOCK_S


def killed_runs(ledger: Ledger) -> list[Row]:
    """Runs of this machine that the ledger has as running and whose process is gone."""
    sql = "SELECT run_id, flow_run_id, pid, started_at FROM runs WHERE state = 'running'"
    found = ledger.query(f"{sql} AND host = ? ORDER BY started_at", [platform.node()])
    return [row for row in found if not is_alive(row["pid"], row["started_at"])]


def end_killed_runs(ledger: Ledger) -> None:
    """Close them in the ledger, as failed."""
    for row in killed_runs(ledger):
        end_run(ledger, row)


def end_run(ledger: Ledger, run: Row) -> None:
    with ledger.transaction() as con:
        con.execute(
            "UPDATE runs SET state = 'failed', message = ?, ended_at = ?"
            " WHERE run_id = ? AND state = 'running'",
            [ENDED.format(pid=run["pid"]), now(), run["run_id"]],
        )


def workers(workspace: Workspace) -> list[Worker]:
    """The worker processes whose job file lies in this workspace's logs."""
    if not PROC.is_dir():
        return []
    logs = workspace.logs.resolve()
    found = (_worker(int(p.name), logs) for p in PROC.iterdir() if p.name.isdigit())
    return [worker for worker in found if worker]


def _worker(pid: int, logs: Path) -> Worker | None:
    words, stat = _strings(pid, "cmdline"), _stat(pid)
    if stat is None or stat[0] == "Z" or "tasks.worker" not in words:
        return None
    if not (Path(words[-1]).resolve().is_relative_to(logs) and _is_near(pid)):
        return None
    given = [w for w in _strings(pid, "environ") if w.startswith("SOLON_PARENT_PID=")]
    parent = int(given[0].partition("=")[2] or 0) if given else 0
    adopted = int(stat[1]) != parent if parent else int(stat[1]) == 1
    return Worker(pid, words[-1], adopted)


def _is_near(pid: int) -> bool:
    """Whether process numbers mean the same to `pid` and to us: no container between us."""
    try:
        return (PROC / str(pid) / "ns/pid").readlink() == (PROC / "self/ns/pid").readlink()
    except OSError:
        return False


def _strings(pid: int, name: str) -> list[str]:
    try:
        return (PROC / str(pid) / name).read_text("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:  # ended meanwhile, or another user's
        return []


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third: state, parent, …; None where it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None


def _started(stat: list[str]) -> float:
    """Seconds since the epoch; field 22 of stat counts clock ticks since the machine's start."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
