"""A program of others and all that it starts, which end with whoever asked for it.

    python -m tasks.guard PROGRAM ARGUMENT...

The parent holds the other end of the guard's standard input: the kernel closes it as the parent
ends, `kill -9` included. Then, on SIGTERM, or as the program ends by itself, everything that it
started is ended: the program is asked first, what is left is killed. What loses its
parent is adopted by the guard (Linux's child subreaper) and so cannot get away. The exit code is
the program's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tasks.worker import die_with_parent

GRACE_S = 5.0  # for the program
AFTER_S = 1.0  # for what it leaves
LOOK_EVERY_S = 0.2
PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    parent = int(os.environ.pop("SOLON_PARENT_PID", "0")) or os.getppid()
    os.environ.pop("PYTHONPATH", None)  # ours, and no concern of the program
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=partial(die_with_parent, os.getpid())
    )
    try:
        while program.poll() is None and not is_alone(parent):
            pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end(program)
    code = program.returncode
    return code if code >= 0 else 128 - code


def is_alone(parent: int) -> bool:
    """Whether the parent is gone, or wants no more; waits LOOK_EVERY_S to see it."""
    ready, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_S)
    return os.getppid() != parent or (bool(ready) and not os.read(sys.stdin.fileno(), 4096))


def end(program: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, then kill whatever is left of it, until nothing is."""
    with contextlib.suppress(ProcessLookupError):
        program.terminate()
    deadline = time.monotonic() + GRACE_S
    while left := children(program):
        if program.returncode is not None:
            deadline = min(deadline, time.monotonic() + AFTER_S)
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def children(program: subprocess.Popen[bytes]) -> list[int]:
    """This process's children that are alive, adopted ones too; those that ended are waited for."""
    program.poll()  # before anybody else waits for it: its exit code is wanted
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == os.getpid():
            found.append(int(entry.name))
    alive = []
    for pid in found:
        if pid == program.pid:
            is_over = program.poll() is not None
        else:
            is_over = os.waitpid(pid, os.WNOHANG)[0] != 0
        alive += [] if is_over else [pid]
    return alive


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, LookupError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
