"""What a served workspace takes of its machine, night by night, and what of that grows.

A figure grows where the median of its last third of nights is over that of the second third (the
first one warms up) by more than a tenth and by more than its floor.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.serve.logs import MOST
from storage.ledger import Ledger
from tests.flows.test_kill import processes_of

MB, KB = 1 << 20, 1 << 10
FLOORS = {"memory": 8 * MB, "open files": 8, "processes": 2, "database": MB, "files": 20}
FOLDER = 64 * KB
LOGS = "prefect's logs"  # of server and worker, the ones before them included
LOGS_BOUND = 4 * MOST  # their floor: nothing is said of them below it
FEWEST = 6  # nights for a verdict
FAILED = "SELECT count(DISTINCT evaluation_id) AS n FROM gates WHERE NOT is_passed"
ROWS = "SELECT sum(estimated_size) AS n FROM duckdb_tables() WHERE database_name = 'ledger'"
Night = dict[str, Any]


def figures(home: Path) -> Night:
    """What there is now; memory, database and folders in bytes."""
    commands = {pid: _command(pid) for pid in processes_of(home)}
    sizes = {path: _size(path) for path in _files(home)}
    database = {path for path in sizes if path.name.startswith("prefect.db")}
    folders: Counter[str] = Counter()
    for path in sizes.keys() - database:
        folders[_place(path.relative_to(home))] += sizes[path]
    ledger = Ledger(home / "ledger.duckdb")
    marks = {"server": "pages:create_app", "worker": "prefect worker start"}
    return {
        "memory": {
            name: sum(_resident(pid) for pid, command in commands.items() if mark in command)
            for name, mark in marks.items()
        },
        "open files": sum(_open_files(pid) for pid in commands),
        "processes": len(commands),
        "database": sum(sizes[path] for path in database),
        "files": len(sizes),
        "bytes": dict(sorted(folders.items())),
        "rows": int(ledger.query(ROWS)[0]["n"]),
        "gates failed": int(ledger.query(FAILED)[0]["n"]),
    }


def _files(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def _place(path: Path) -> str:
    """Whose bytes a file's are: a folder, one within Prefect's, its logs, or the ledger."""
    if path.name.startswith("ledger.duckdb"):
        return "ledger"
    if path.parts[0] != "prefect":
        return path.parts[0] if len(path.parts) > 1 else "beside"
    if len(path.parts) > 2:
        return "/".join(path.parts[:2])
    return LOGS if ".log" in path.name else "prefect"


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _open_files(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def told(night: Night) -> str:
    """A night's figures in three lines."""
    memory = {name: f"{value / MB:.0f}" for name, value in night["memory"].items()}
    runs = ", ".join(f"{count} {state}" for state, count in night["runs"].items())
    folders = "  ".join(f"{name} {value / KB:.0f}" for name, value in night["bytes"].items())
    return (
        f"night {night['night']}, {night['kind']}: {night['seconds']} s; runs: {runs};"
        f" evaluations that missed a gate: {night['gates failed']}\n"
        f"  MB: server {memory['server']}, worker {memory['worker']},"
        f" Prefect's database {night['database'] / MB:.1f}; open files {night['open files']},"
        f" processes {night['processes']}, files {night['files']}, rows {night['rows']}\n"
        f"  KiB: {folders}"
    )


def verdict(nights: list[Night]) -> tuple[list[str], bool]:
    """A line for each figure and one in all, and whether something grows."""
    lines, growing = [], []
    for name, floor, values in _series(nights):
        if len(values) < FEWEST:
            lines.append(f"{name}: {len(values)} nights are too few for a verdict")
            continue
        second, last = _thirds(values)
        is_growing = last > 1.1 * second and last - second > floor
        growing += [name] * is_growing
        word = "GROWING" if is_growing else "flat"
        lines.append(f"{name}: {word} ({second:,.0f} to {last:,.0f} over {len(values)} nights)")
    end = f"growing: {', '.join(growing)}" if growing else "nothing grows but the ledger's rows"
    if not growing and any("too few" in line for line in lines):
        end = "too few for a verdict on everything"
    return [*lines, f"{len(nights)} nights: {end}"], bool(growing)


def _series(nights: list[Night]) -> Iterator[tuple[str, int, list[float]]]:
    """Name, floor and values by night of every figure that is judged; memory within the nights of
    the server that was up for most of them.
    """
    by_server = Counter(night["server"] for night in nights)
    longest = max(by_server, key=lambda up: by_server[up])
    for name in ("server", "worker"):
        values = [n["memory"][name] for n in nights if n["server"] == longest]
        yield f"memory of the {name}", FLOORS["memory"], values
    for name in ("open files", "processes", "database", "files"):
        yield name, FLOORS[name], [night[name] for night in nights]
    for name in sorted({name for night in nights for name in night["bytes"]} - {"ledger"}):
        floor = LOGS_BOUND if name == LOGS else FOLDER
        yield f"bytes of {name}", floor, [night["bytes"].get(name, 0) for night in nights]


def _thirds(values: list[float]) -> tuple[float, float]:
    """The medians of the second and of the last third."""
    third = len(values) // 3
    second, last = values[third : len(values) - third], values[len(values) - third :]
    return statistics.median(second), statistics.median(last)
