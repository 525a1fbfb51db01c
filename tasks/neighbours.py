"""Whether others compute on this machine: it decides how a worker's threads wait for each other.

A thread that is put to sleep at the end of each piece of work, and woken for the next, costs more
than the piece where a model is small: on two cores 80 s instead of 49 for a short training by PPO
with 135 million weights. One that looks for work for a moment before it sleeps takes the core that
another process needs: 81 s become 244 where two such trainings meet. Nothing that is computed
depends on it, only time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.machine import granted_cores

PROC = Path("/proc")
LOOK_S = 0.25
QUIET = 0.3
"""Cores that others may use on a machine that is called quiet: a desktop's or a server's rest."""
SPINS = "5000"
"""Turns of libgomp's waiting loop, about a tenth of a millisecond: from 5,000 on nothing is won."""
BY_HAND = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class Use(NamedTuple):
    """What a process is, and what it has computed so far, in the clock's ticks."""

    parent: int
    ticks: int


class Look(NamedTuple):
    """What the machine has computed so far, in ticks, and each process that can be seen."""

    ticks: int
    processes: dict[int, Use]


def waiting(parent: int) -> dict[str, str]:
    """The environment that says how threads wait, for a worker of the process `parent`.

    Empty where somebody has said it. `parent` and all that it started do not count as others.
    """
    if any(name in os.environ for name in BY_HAND):
        return {}
    is_quiet = granted_cores() is None and _cores_of_others(parent) < QUIET
    return {"GOMP_SPINCOUNT": SPINS} if is_quiet else {"OMP_WAIT_POLICY": "PASSIVE"}


def _cores_of_others(parent: int) -> float:
    """Cores that others use, over LOOK_S; infinitely many where the system does not tell."""
    before, started = look(), time.monotonic()
    time.sleep(LOOK_S)
    after, seconds = look(), time.monotonic() - started
    if before is None or after is None:
        return float("inf")
    return ticks_of_others(before, after, parent) / os.sysconf("SC_CLK_TCK") / seconds


def ticks_of_others(before: Look, after: Look, parent: int) -> int:
    """What was computed between two looks, but by `parent` and its children's children."""
    family = sum(
        use.ticks - (before.processes[pid].ticks if pid in before.processes else 0)
        for pid, use in after.processes.items()
        if _descends(after.processes, pid, parent)
    )
    return after.ticks - before.ticks - family


def _descends(among: Mapping[int, Use], pid: int, ancestor: int) -> bool:
    seen: set[int] = set()
    while pid in among and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = among[pid].parent
    return False


def look() -> Look | None:
    """The whole machine's use so far, other containers' too; None on a system without /proc."""
    try:
        counts = (PROC / "stat").read_text(encoding="ascii").split()[1:9]
        user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, counts)
    except (OSError, ValueError):
        return None
    return Look(user + nice + system + sum(interrupts_and_stolen), processes())


def processes() -> dict[int, Use]:
    """Every process that can be seen, by its number."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            said = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended
            continue
        fields = said.rpartition(")")[2].split()  # a name may hold spaces and brackets
        found[int(folder.name)] = Use(int(fields[1]), int(fields[11]) + int(fields[12]))
    return found
