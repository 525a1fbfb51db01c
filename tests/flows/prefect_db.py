"""Prefect's database as its migrations leave it, made once: they take eight seconds a workspace."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="solon-prefect-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    environment = os.environ | {"PREFECT_HOME": str(folder), "DO_NOT_TRACK": "1"}
    environment.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", None)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder / "prefect.db"


def seed(home: Path) -> None:
    """Give a workspace that has none its Prefect database."""
    path = home / "prefect" / "prefect.db"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_migrated(), path)
