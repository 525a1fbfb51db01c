"""The guard of a program of others: nothing that the program started outlives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.fake_vllm import is_alive

PROGRAM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as its child, which inherits it
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""
# The program ends just after its child was seen to be the program's: the narrowest moment.
BETWEEN = """
import os, signal, sys, time
from tasks import guard
true_parent = guard._parent
def is_program(pid):
    return true_parent(guard.Path("/proc", str(pid))) == os.getpid()
def parent(entry):
    found = true_parent(entry)
    if found and is_program(found):
        os.kill(found, signal.SIGKILL)
        while guard.Path(f"/proc/{found}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    return found
guard._parent = parent
sys.exit(guard.main(sys.argv[1:]))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")


def guarded(how: list[str], seconds: float) -> tuple[subprocess.Popen[str], int]:
    """The guard over PROGRAM, and the process id of what PROGRAM started."""
    command = [sys.executable, *how, sys.executable, "-c", PROGRAM, str(seconds)]
    asked = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert asked.stdout is not None
    return asked, int(asked.stdout.readline())


def test_a_program_that_ends_takes_with_it_what_it_started() -> None:
    guard, child = guarded(["-m", "tasks.guard"], seconds=0)
    assert guard.wait(60) == 7
    assert not is_alive(child)


def test_what_loses_its_parent_while_the_guard_looks_is_ended_too() -> None:
    guard, child = guarded(["-c", BETWEEN], seconds=600)
    assert guard.stdin is not None
    assert is_alive(child)
    guard.stdin.close()
    assert guard.wait(60) == 128 + 9
    assert not is_alive(child)
