"""Checkpoints of a running stage: which one to resume from, and which to throw away.

A trainer writes `checkpoint-<step>/` file by file, so a kill can leave a torn folder. After the
last file a seal with every file's size and digest is renamed into place. A folder without one is
torn; one that is not what its seal says was damaged since. Neither is resumed from, and both are
removed. The newest two are kept, so that a damaged one costs the steps since the one before it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from storage.durable import sync
from storage.seals import read_digest, seal, sealed
from tasks.report import Report

MARKER = "COMPLETE.json"
KEPT = 2


def place_of(state: str | Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return Path(state) / f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def mark_complete(checkpoint: Path) -> None:
    """Record what is in every file of a checkpoint, atomically, then drop all but the newest."""
    seal(checkpoint, MARKER)
    sync(checkpoint.parent)
    for old in _by_step(checkpoint.parent)[:-KEPT]:
        _remove(old)


def latest_complete(state: str | Path, report: Report) -> Path | None:
    """The newest checkpoint of a state folder that is what was written, or None.

    Those after it are removed; a damaged one is named in a warning.
    """
    for checkpoint in reversed(_by_step(Path(state))):
        if sealed(checkpoint, MARKER, read_digest) is not None:
            return checkpoint
        if (checkpoint / MARKER).exists():
            rule = "is not what was written, by its digests"
            fix = "it is removed, and training goes on from the one before it, or the start"
            report.log(f"{checkpoint}: {rule}: {fix}", "warning")
        _remove(checkpoint)
    return None


def _by_step(state: Path) -> list[Path]:
    return sorted(state.glob("checkpoint-*"), key=step_of)


def _remove(checkpoint: Path) -> None:
    """The seal first: what a kill leaves of it then is torn, and not damaged."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)
