"""Checkpoints of a running stage: which one to resume from, and which to throw away.

The trainer writes `checkpoint-<step>/` file by file, so a kill can leave a torn folder. After the
last file a marker with every file's size is renamed into place; a folder without a marker, or
whose files differ from it, never counts and is removed. Only the newest complete one is kept.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from storage.durable import replace_text, sync

MARKER = "COMPLETE.json"


def mark_complete(checkpoint: Path) -> None:
    """Record the size of every file of a checkpoint, atomically, then drop the older ones."""
    sizes = _sizes(checkpoint)
    for name in sizes:
        sync(checkpoint / name)
    replace_text(checkpoint / MARKER, json.dumps(sizes, indent=0, sort_keys=True))
    for other in checkpoint.parent.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other)


def latest_complete(state: str | Path) -> Path | None:
    """The newest complete checkpoint of a state folder, or None; incomplete ones are removed."""
    for folder in Path(state).glob("checkpoint-*"):
        if not is_complete(folder):
            shutil.rmtree(folder)
    return max(Path(state).glob("checkpoint-*"), key=step_of, default=None)


def is_complete(checkpoint: Path) -> bool:
    """Whether the marker is there and every file still has the size it records."""
    try:
        recorded = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return recorded == _sizes(checkpoint)


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in checkpoint.rglob("*") if path.is_file())
    return {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in files
        if MARKER not in path.name
    }


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
