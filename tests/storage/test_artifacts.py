from __future__ import annotations

from pathlib import Path

import pytest

from storage.artifacts import artifact_path, check, is_whole, writing
from storage.errors import ArtifactBroken
from storage.workspace import Workspace

ID = "ckp_" + "0" * 32


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home").create()


def write(workspace: Workspace, text: str = "weights") -> Path:
    with writing(workspace, ID, stage="sft") as folder:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "file").write_text(text)
    return artifact_path(workspace, ID)


def test_an_artifact_is_whole_and_leaves_no_scraps(workspace: Workspace) -> None:
    path = write(workspace)
    assert check(path, deep=True)["stage"] == "sft"
    assert list(workspace.tmp.iterdir()) == []


def test_a_failure_leaves_what_was_there(workspace: Workspace) -> None:
    path = write(workspace, "old")

    def fail() -> None:
        with writing(workspace, ID) as folder:
            (folder / "half").write_text("x")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert (path / "adapter" / "file").read_text() == "old"
    assert list(workspace.tmp.iterdir()) == []


def test_writing_again_replaces(workspace: Workspace) -> None:
    write(workspace, "old")
    path = write(workspace, "new")
    assert (path / "adapter" / "file").read_text() == "new"
    assert is_whole(path)


@pytest.mark.parametrize("fault", ["missing", "shorter", "no manifest", "torn manifest"])
def test_a_broken_artifact_is_seen(workspace: Workspace, fault: str) -> None:
    path = write(workspace)
    if fault == "missing":
        (path / "adapter" / "file").unlink()
    elif fault == "shorter":
        (path / "adapter" / "file").write_text("w")
    elif fault == "no manifest":
        (path / "MANIFEST.json").unlink()
    else:
        (path / "MANIFEST.json").write_text('{"files": [')
    assert not is_whole(path)
    with pytest.raises(ArtifactBroken):
        check(path)


def test_changed_bytes_of_the_same_length_are_seen_by_the_deep_check(workspace: Workspace) -> None:
    path = write(workspace)
    (path / "adapter" / "file").write_text("WEIGHTS")
    check(path)
    with pytest.raises(ArtifactBroken, match="content"):
        check(path, deep=True)
