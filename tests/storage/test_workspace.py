"""The workspace's folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from flows.serve.server import login
from storage.workspace import Workspace


def test_a_new_workspace_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        root = Workspace(tmp_path / "project" / ".solon").create().root
        early = Workspace(tmp_path / "early")
        login(early)
        there = tmp_path / "shared"
        there.mkdir()
        Workspace(there).create()
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(early.root.stat().st_mode) == 0o700
    assert stat.S_IMODE((early.prefect / "login").stat().st_mode) == 0o600
    assert stat.S_IMODE(there.stat().st_mode) == 0o755  # what is there is not ours to close
