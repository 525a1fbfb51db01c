"""The machine a run is on: its name, and how many cores it may use. Imports no torch."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from tasks.compute import cpuinfo

GPUS = Path("/proc/driver/nvidia/gpus")
CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """How many cores this process may use: those it may run on, within the container's quota."""
    cores = _allowed_cores()
    return min(cores, granted_cores() or cores)


def _allowed_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_threads() -> int:
    """Threads for torch where nobody says how many; 0 leaves it to torch.

    Torch counts the cores a process may run on and not a container's quota: with 64 threads on two
    granted cores most of the time is spent waiting.
    """
    granted = granted_cores()
    return granted if granted and granted < _allowed_cores() else 0


def granted_cores() -> int | None:
    """Cores that the control group grants, rounded up; None where there is no limit."""
    try:  # version 2, then 1
        if (CGROUP / "cpu.max").is_file():
            granted, period = (CGROUP / "cpu.max").read_text().split()
        else:
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            granted, period = ((CGROUP / "cpu" / file).read_text() for file in files)
        return max(1, -(-int(granted) // int(period))) if int(granted) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None


def usable_memory() -> int:
    """Bytes of memory that this process may use at most: the machine's, or its control group's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, then 1
        try:
            return min(total, int((CGROUP / file).read_text()))
        except (OSError, ValueError):  # "max" is no number
            continue
    return total


@cache
def machine_name() -> str:
    """Processor, usable cores and GPUs: machines of one name take about equally long."""
    models = (value for key, value in cpuinfo() if key in ("model name", "hardware") and value)
    processor = next(models, platform.processor() or platform.machine())
    cores = usable_cores()
    return ", ".join([processor, f"{cores} core{'' if cores == 1 else 's'}", *gpus()])


def gpus() -> list[str]:
    """The names of NVIDIA's devices, as the driver tells without torch."""
    found = []
    for file in sorted(GPUS.glob("*/information")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found
