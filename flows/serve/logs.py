"""The logs of servers and workers, which stay up for months: the newest part of each is kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MOST = 4 << 20  # bytes; with what was before it a log takes twice that


def bound(log: Path) -> None:
    """Where a log has grown over MOST, put it in the place of `NAME.1` and begin it anew.

    Whoever writes it appends and need not know. A line that comes in the moment between is lost,
    and where the disk is full all of it.
    """
    if log.exists() and log.stat().st_size > MOST:
        before = log.with_name(f"{log.name}.1")
        try:
            shutil.copyfile(log, before)
        except OSError:
            before.unlink(missing_ok=True)
        os.truncate(log, 0)
