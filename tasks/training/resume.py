"""Checkpoints of a running stage: which one to resume from, and which to throw away.

The trainer writes `checkpoint-<step>/` file by file, so a kill can leave a torn folder. After the
last file a marker with every file's size is renamed into place; a folder without a marker, or
with a file that differs from it, never counts and is removed. Only the newest complete one is kept.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from storage.durable import seal, sealed

MARKER = "COMPLETE.json"


def mark_complete(checkpoint: Path) -> None:
    """Record the size of every file of a checkpoint, atomically, then drop the older ones."""
    seal(checkpoint, MARKER)
    for other in checkpoint.parent.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other)


def latest_complete(state: str | Path) -> Path | None:
    """The newest complete checkpoint of a state folder, or None; incomplete ones are removed."""
    for folder in Path(state).glob("checkpoint-*"):
        if sealed(folder, MARKER) is None:
            shutil.rmtree(folder)
    return max(Path(state).glob("checkpoint-*"), key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
