"""`solon export` at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands import cli
from flows.explain import export


@pytest.mark.parametrize("name", ["pairs[v2]", "pairs[", "x [/b]"])
def test_a_folders_name_is_no_markup(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {"rows": 3, "held_out": 1, "left_out": 0}
    monkeypatch.setattr(export, "export_snapshot", lambda *arguments: written)
    result = CliRunner().invoke(cli.app, ["export", "dst_x", "--out", str(tmp_path / name)])
    assert result.exception is None
    assert result.stdout.rstrip().endswith(name)
