"""A lock between processes that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import LedgerBusy

POLL_S = 0.02


@contextmanager
def file_lock(path: Path, wait_s: float = 60.0, holder: str = "") -> Iterator[None]:
    """Hold the exclusive `flock` on `path`; LedgerBusy after a wait of `wait_s` seconds.

    The holder's pid and name stand in the file while it holds the lock, for whoever waits in vain:
    a note under a free lock is that of a holder that was killed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, wait_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "holder": holder}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                what = f"locked for {wait_s:g} s by {_holder(descriptor)}"
                raise LedgerBusy(f"{path}: {what}; wait for it or end it") from None
            time.sleep(POLL_S)


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {note['pid']}" + (f" ({note['holder']})" if note.get("holder") else "")
    except (ValueError, KeyError):
        return "another process"
