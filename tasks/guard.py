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
    while left := children():
        if program.returncode is not None:
            deadline = min(deadline, time.monotonic() + AFTER_S)
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        reap(program, left)
        time.sleep(0.05)


def children() -> list[int]:
    """This process's children, adopted ones too, with those that ended and are not waited for.

    One that has ended counts: what it left behind is adopted while this looks, and seen next time.
    """
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in entries if _parent(entry) == os.getpid()]


def reap(program: subprocess.Popen[bytes], ended: list[int]) -> None:
    """Wait for those of these children that have ended; the program's exit code is kept."""
    for pid in ended:
        if pid == program.pid:
            program.poll()
        else:
            os.waitpid(pid, os.WNOHANG)


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, LookupError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
