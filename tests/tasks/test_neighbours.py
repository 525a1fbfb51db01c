"""Threads look for work before they sleep where nobody else computes, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tasks import neighbours
from tasks.neighbours import Look, Use, look, processes, ticks_of_others, waiting

SPINNING = {"GOMP_SPINCOUNT": neighbours.SPINS}
SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE"}
BURN = "print(flush=True)\nwhile True: pass"


@pytest.fixture(autouse=True)
def nobody_has_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in neighbours.BY_HAND:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(neighbours, "granted_cores", lambda: None)


@pytest.fixture
def burning() -> Iterator[int]:
    """A process that takes a core; its number."""
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_own_processes_are_not_others() -> None:
    before = {1: Use(0, 5), 10: Use(1, 100), 11: Use(10, 50), 12: Use(11, 7), 20: Use(1, 3)}
    after = {pid: Use(use.parent, use.ticks + 10) for pid, use in before.items()}
    after |= {13: Use(12, 40), 21: Use(20, 4)}  # born meanwhile
    looks = Look(1000, before), Look(1200, after)  # 200 in all, some by who cannot be seen
    assert ticks_of_others(*looks, 10) == 200 - (3 * 10 + 40)
    assert ticks_of_others(*looks, 20) == 200 - (10 + 4)
    assert ticks_of_others(*looks, 99) == 200


def test_a_circle_of_parents_ends() -> None:
    """Two looks at the same number may be of two processes."""
    looks = Look(0, {}), Look(9, {5: Use(6, 1), 6: Use(5, 1)})
    assert ticks_of_others(*looks, 1) == 9


def test_the_system_tells_what_was_computed(burning: int) -> None:
    before = look()
    assert before
    assert before.processes[burning].parent == os.getpid()
    while processes()[burning].ticks < before.processes[burning].ticks + 10:
        pass
    after = look()
    assert after
    assert after.ticks >= before.ticks + 10


def test_threads_sleep_where_another_computes(burning: int) -> None:
    assert waiting(burning + 1_000_000) == SLEEPING  # a family of nobody: all are others


@pytest.mark.parametrize(("cores", "said"), [(0.29, SPINNING), (0.31, SLEEPING)])
def test_threads_look_for_work_where_nobody_computes(
    monkeypatch: pytest.MonkeyPatch, cores: float, said: dict[str, str]
) -> None:
    monkeypatch.setattr(neighbours, "_cores_of_others", lambda parent: cores)
    assert waiting(os.getpid()) == said


def test_what_somebody_has_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert waiting(os.getpid()) == {}


def test_a_quota_is_not_spent_on_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "granted_cores", lambda: 2)
    monkeypatch.setattr(neighbours, "_cores_of_others", lambda parent: 0.0)
    assert waiting(os.getpid()) == SLEEPING


def test_where_the_system_tells_nothing_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(neighbours, "PROC", tmp_path)
    assert waiting(os.getpid()) == SLEEPING
