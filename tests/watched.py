"""What a piece of code writes, starts and asks, by Python's audit events; how long it may take."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod")
STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system", "socket.connect")
_seen: list[str] | None = None


def _hear(event: str, values: tuple[Any, ...]) -> None:
    """An audit hook: what writes, starts or asks while `watched`."""
    if _seen is None:
        return
    if event == "open":
        is_nameless = isinstance(values[0], int) or os.path.isdir(values[0])
        paths = values[:1] if values[2] & WRITES and not is_nameless else ()
    else:
        paths = values if event in CHANGES else ()
    found = (os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike))
    _seen.extend(os.path.abspath(path) for path in found if "__pycache__" not in path)
    if event in STARTS:
        _seen.append(f"/{event}")


sys.addaudithook(_hear)


@contextmanager
def watched(root: Path) -> Iterator[None]:
    """Raise AssertionError where something is written outside `root`, started or asked."""
    global _seen
    _seen = []
    try:
        yield
        assert [name for name in _seen if not Path(name).is_relative_to(root)] == []
    finally:
        _seen = None


class TooLong(BaseException):
    """It took longer than it may; no `except Exception` catches this."""


@contextmanager
def bounded(cpu_s: float) -> Iterator[None]:
    """Raise TooLong after so many seconds of this process's own time."""

    def stop(*_: object) -> None:
        raise TooLong(f"over {cpu_s} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
