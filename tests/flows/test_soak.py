"""How `tests/benchmarks/grown.py` tells what grows from what warms up, and how a day passes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks.grown import MB, verdict
from tests.benchmarks.soak import age

FLAT = {
    "server": 1,
    "memory": {"server": 300 * MB, "worker": 200 * MB},
    "open files": 60,
    "processes": 4,
    "database": 5 * MB,
    "files": 400,
    "bytes": {"ledger": MB, "prefect/storage": MB},
}


def nights(count: int, name: str, inner: str, values: list[float]) -> list[dict[str, object]]:
    """Nights of which one figure has these values, in turn."""
    found = []
    for number in range(count):
        value = values[number % len(values)]
        found.append(FLAT | {name: FLAT[name] | {inner: value} if inner else value})  # type: ignore[operator]
    return found


@pytest.mark.parametrize(
    ("name", "inner", "values", "is_growing"),
    [
        (
            "memory",
            "server",
            [300 * MB + n * 2 * MB for n in range(30)],
            False,
        ),  # warms up: a tenth
        ("memory", "server", [300 * MB + n * 5 * MB for n in range(30)], True),
        ("memory", "worker", [100 * MB + min(n, 9) * 20 * MB for n in range(30)], False),
        ("database", "", [5 * MB, 9 * MB, 5 * MB], False),
        ("database", "", [MB + n * MB / 2 for n in range(30)], True),
        ("open files", "", [60 + n for n in range(30)], True),
        ("open files", "", [60 + n % 5 for n in range(30)], False),
        ("processes", "", [4 + n // 8 for n in range(30)], False),
        ("bytes", "prefect/storage", [n * 12_000 for n in range(30)], True),
        ("bytes", "ledger", [n * MB for n in range(30)], False),
        ("bytes", "new", [0] * 20 + [n * 40_000 for n in range(10)], True),
    ],
)
def test_growth_is_told_from_noise(
    name: str, inner: str, values: list[float], is_growing: bool
) -> None:
    lines, found = verdict(nights(30, name, inner, values))
    assert found is is_growing
    assert ("growing" in lines[-1]) is is_growing


def test_few_nights_have_no_verdict_and_memory_is_of_one_server() -> None:
    lines, found = verdict(nights(5, "processes", "", [1.0, 50.0]))
    assert not found
    assert all("too few" in line for line in lines)
    two = nights(12, "memory", "server", [300 * MB])
    two += [night | {"server": 2, "memory": {"server": 900 * MB, "worker": 0}} for night in two[:8]]
    assert not verdict(two)[1]


def test_a_day_passes_for_what_is_over(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    with closing(sqlite3.connect(path)) as db, db:
        for table, column in (("flow_run", "end_time"), ("events", "occurred")):
            db.execute(f"CREATE TABLE {table} ({column} DATETIME)")
            db.execute(f"INSERT INTO {table} VALUES ('2026-03-01 02:00:00.250000'), (NULL)")
        db.execute("CREATE TABLE event_resources (occurred DATETIME)")
    age(path)
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT end_time FROM flow_run").fetchall()
    assert found == [("2026-02-28 02:00:00.250000",), (None,)]
