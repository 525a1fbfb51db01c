"""Run a command as a user would, and say how long it took and how much memory it held.

    finished = run(["solon", "plan"], env={}, name="plan")

Memory is sampled ten times a second from `/proc`, over the command and every process beneath it, as
the sum of their proportional set sizes: a page that several of them share counts once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

EVERY_S = 0.1
SHOWN_LINES = 20  # of a failed command's standard error


@dataclass(frozen=True)
class Finished:
    """A command that ended well: its standard output, seconds, and MB at the peak."""

    output: str
    seconds: float
    largest_mb: float  # the largest resident set of one process, what it shares included
    all_mb: float  # all processes together, at the worst moment


class MemoryWatch(threading.Thread):
    """Samples one process and its descendants until `stop`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak_kb = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(EVERY_S):
            held = sum(_proportional_kb(pid) for pid in _tree(self.pid))
            self.peak_kb = max(self.peak_kb, held)

    def stop(self) -> float:
        """MB at the peak."""
        self._ended.set()
        self.join()
        return self.peak_kb / 1024


def run(command: Sequence[str], env: Mapping[str, str], name: str) -> Finished:
    """Run it to its end. `env` is added to this process's. Ends the program where it fails."""
    print(f"{name} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen(command, env=os.environ | env, stdout=out, stderr=err)
        watch = MemoryWatch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds, all_mb = time.monotonic() - started, watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name}: exit code {process.returncode}\n{_end(err)}")
        out.seek(0)
        return Finished(out.read(), seconds, usage.ru_maxrss / 1024, all_mb)


def _end(file: IO[str]) -> str:
    file.seek(0)
    return "\n".join(file.read().splitlines()[-SHOWN_LINES:])


def _tree(root: int) -> set[int]:
    """The process and its descendants, those that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(entry), []).append(int(entry.name))
    found, left = set(), [root]
    while left:
        found.add(pid := left.pop())
        left += children.get(pid, [])
    return found


def _parent(process: Path) -> int:
    """The parent's id; 0 where the process has ended."""
    try:
        stat = (process / "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])  # a command's name may hold anything


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
