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

from storage.lease import network_type
from storage.ledger import Ledger, Row, now
from storage.workspace import Workspace

PROC = Path("/proc")
CLOCK_S = 10.0  # how far the clocks of the ledger and of the kernel may be apart


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
    found = stat(pid)
    return bool(found) and (since is None or _started(found) <= since.timestamp() + CLOCK_S)


def killed_runs(ledger: Ledger) -> list[Row]:
    """Runs that the ledger has as running and whose process is gone.

    Under another host's name, a container's or this machine's of before, those that began before
    this machine did are: on a disk of its own nobody else runs.
    """
    sql = "SELECT run_id, flow_run_id, pid, host, started_at FROM runs WHERE state = 'running'"
    is_shared = bool(network_type(ledger.path.parent))

    def is_gone(run: Row) -> bool:
        if run["host"] == platform.node():
            return not is_alive(run["pid"], run["started_at"])
        return not is_shared and run["started_at"].timestamp() + CLOCK_S < booted_at()

    return [row for row in ledger.query(f"{sql} ORDER BY started_at") if is_gone(row)]


def end_killed_runs(ledger: Ledger) -> None:
    for row in killed_runs(ledger):
        end_run(ledger, row)


def end_run(ledger: Ledger, run: Row) -> None:
    """Close a killed run in the ledger, as failed."""
    why = f"its process {run['pid']} ended without closing it: killed, or the machine went down"
    with ledger.transaction() as con:
        con.execute(
            "UPDATE runs SET state = 'failed', message = ?, ended_at = ?"
            " WHERE run_id = ? AND state = 'running'",
            [why, now(), run["run_id"]],
        )


def processes() -> list[int]:
    return [int(path.parent.name) for path in PROC.glob("[0-9]*/stat")]


def strings(pid: int, name: str) -> list[str]:
    """A process's `cmdline` or `environ`; none where it ended meanwhile or is another user's."""
    try:
        return (PROC / str(pid) / name).read_text("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def environment_value(pid: int, name: str) -> str | None:
    found = (text.partition("=") for text in strings(pid, "environ"))
    return next((value for key, _, value in found if key == name), None)


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third: state, parent, group, …; none of the dead."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if fields[0] == "Z" else fields


def workers(workspace: Workspace) -> list[Worker]:
    """The worker processes whose job file lies in this workspace's logs."""
    logs = workspace.logs.resolve()
    return [worker for pid in processes() if (worker := _worker(pid, logs))]


def _worker(pid: int, logs: Path) -> Worker | None:
    words, fields = strings(pid, "cmdline"), stat(pid)
    if not fields or "tasks.worker" not in words:
        return None
    if not (Path(words[-1]).resolve().is_relative_to(logs) and _is_near(pid)):
        return None
    parent, started_by = int(fields[1]), int(environment_value(pid, "SOLON_PARENT_PID") or 0)
    return Worker(pid, words[-1], parent != started_by if started_by else parent == 1)


def _is_near(pid: int) -> bool:
    """Whether process numbers mean the same to `pid` and to us: no container between us."""
    try:
        return (PROC / str(pid) / "ns/pid").readlink() == (PROC / "self/ns/pid").readlink()
    except OSError:
        return False


def _started(fields: list[str]) -> float:
    """Seconds since the epoch; field 22 of stat counts clock ticks since the machine's start."""
    return booted_at() + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def booted_at() -> float:
    """When this machine started, in seconds since the epoch; 0 where the system does not tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.time() - time.clock_gettime(clock)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
