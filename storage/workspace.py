"""The workspace: one folder that holds everything Solon writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from storage.errors import InputError


@dataclass(frozen=True)
class Workspace:
    """Where things are. Nothing is created until `create` is called."""

    root: Path

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None) -> Workspace:
        """The workspace at `root`, else at `SOLON_HOME`, else `.solon` in the current folder."""
        path = Path(root or os.environ.get("SOLON_HOME") or ".solon").expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise InputError(str(path), "the workspace must be a folder", "set SOLON_HOME to one")
        return cls(path)

    def create(self) -> Workspace:
        for folder in (self.root, self.models, self.artifacts, self.logs, self.tmp, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.duckdb"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def tmp(self) -> Path:
        """Work in progress: safe to delete when no run is alive."""
        return self.root / "tmp"

    @property
    def state(self) -> Path:
        """Resumable trainer state of unfinished checkpoints, one folder a checkpoint id."""
        return self.root / "state"

    @property
    def prefect(self) -> Path:
        return self.root / "prefect"

    @property
    def reports(self) -> Path:
        return self.root / "reports"
