"""What is dear to make and then only read: made once in a test run, by whoever needs it first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from storage.lock import file_lock

WAIT_S = 900.0  # a wait of so long has hung


class Once:
    """Folders under `root`, which the processes of a test run share and pytest deletes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder NAME, which `make` filled once."""
        folder, is_made = self.root / name, self.root / f"{name}.made"
        with file_lock(self.root / f"{name}.lock", WAIT_S, "a test"):
            if not is_made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a `make` that failed
                folder.mkdir()
                make(folder)
                is_made.touch()
        return folder
