"""The workspace: one folder that holds everything Solon writes."""

from __future__ import annotations

import os
from pathlib import Path

from storage.errors import InputError

READING = (
    "plan, why, impact, diff, status, report and export answer; for more get the right to write"
)
MODEL_MANIFEST = "MODEL.json"  # of a folder in models/: what it is, and what is in it


def no_workspace(root: Path) -> str:
    """What is said of a folder that is none yet, and often is the wrong one."""
    return f"no workspace at {root}: nothing was run here yet"


class Workspace:
    """Where things are. Nothing is created until `create` is called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = root / "ledger.duckdb"
        self.models = root / "models"
        self.templates = self.models / "templates.json"  # that were tried, by digest
        self.artifacts = root / "artifacts"
        self.logs = root / "logs"
        self.tmp = root / "tmp"  # work in progress: safe to delete when no run is alive
        self.state = root / "state"  # of unfinished trainers, to resume: a folder a checkpoint id
        self.prefect = root / "prefect"
        self.reports = root / "reports"

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None) -> Workspace:
        """The workspace at `root`, else at `SOLON_HOME`, else `.solon` in the current folder."""
        path = Path(root or os.environ.get("SOLON_HOME") or ".solon").expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise InputError(path, "the workspace must be a folder", "set SOLON_HOME to one")
        return cls(path)

    def make_root(self) -> None:
        """Make the folder, its owner's alone: ledger and logs hold what people wrote, and Prefect's
        folder the login. One that is there stays as open as it is.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self) -> Workspace:
        """Make its folders. Raises InputError where one may only read it."""
        self.make_root()
        if not os.access(self.root, os.W_OK):
            raise InputError(self.root, "may only be read", READING)
        for folder in (self.models, self.artifacts, self.logs, self.tmp, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        return self
