"""Every file that a form's overrides name is one of the workspace, or a name of ours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.serve import reach
from storage.errors import InputError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of a deployment's run."""
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(reach, "deployment", SimpleNamespace(get_id=lambda: "a deployment"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize(
    "key", ["prompts", "prompts.path", "pairs.people", "judge.gold", "evaluation.probes"]
)
def test_no_file_outside_is_named(home: Path, key: str) -> None:
    with pytest.raises(InputError, match="a form takes files of the workspace"):
        reach.check_form("smoke", {key: str(home.parent / "mine.jsonl")})
    reach.check_form("smoke", {key: str(home / "mine.jsonl")})


def test_names_of_ours_are_none(home: Path) -> None:
    reach.check_form("smoke", {"evaluation.probes": "honesty", "prompts": "everyday"})
    reach.check_form("smoke", {"evaluation.probes": "all"})
