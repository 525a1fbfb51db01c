from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    assert check(path)["stage"] == "sft"
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


def test_changed_bytes_of_the_same_length_are_seen(workspace: Workspace) -> None:
    path = write(workspace)
    check(path)
    (path / "adapter" / "file").write_text("WEIGHTS")
    with pytest.raises(ArtifactBroken, match="content"):
        check(path)
    (path / "adapter" / "file").write_text("weights")
    assert is_whole(path)


def edit_manifest(path: Path, **changes: Any) -> None:
    file = path / "MANIFEST.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_an_artifact_under_another_name_is_broken(workspace: Workspace) -> None:
    path = write(workspace)
    other = path.with_name("ckp_" + "1" * 32)
    path.rename(other)
    with pytest.raises(ArtifactBroken, match="another artifact"):
        check(other)
    edit_manifest(other, id=str(workspace.root))
    assert not is_whole(other)


@pytest.mark.parametrize("name", ["../file", "{outside}/file", "adapter/../../file", "", "."])
def test_a_manifest_that_names_files_elsewhere_is_broken(workspace: Workspace, name: str) -> None:
    path = write(workspace)
    (path.parent / "file").write_text("weights")  # what the manifest says, in another place
    entry = json.loads((path / "MANIFEST.json").read_text())["files"][0]
    edit_manifest(path, files=[entry | {"file": name.format(outside=path.parent)}])
    with pytest.raises(ArtifactBroken, match="no file of the artifact's folder"):
        check(path)


@pytest.mark.parametrize("linked", ["adapter", "adapter/file"])
def test_a_link_is_no_file_of_an_artifact(
    workspace: Workspace, tmp_path: Path, linked: str
) -> None:
    path = write(workspace)
    (path / linked).rename(tmp_path / "outside")
    (path / linked).symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactBroken, match="a link"):
        check(path)


LONG = {"file": "x" * 300, "size": 1, "sha256": ""}
NULL = {"file": "a\0b", "size": 1, "sha256": ""}


@pytest.mark.parametrize("files", [None, 5, [5], [{}], {"a": 1}, [], [LONG], [NULL]])
def test_a_manifest_of_another_form_is_broken(workspace: Workspace, files: Any) -> None:
    path = write(workspace)
    edit_manifest(path, files=files)
    assert not is_whole(path)


def test_a_manifest_nested_without_end_is_broken(workspace: Workspace) -> None:
    path = write(workspace)
    (path / "MANIFEST.json").write_text("[" * 200_000)
    assert not is_whole(path)


@pytest.mark.parametrize("name", ["/etc", "ckp_../../x", "ckp_0", "xyz_" + "0" * 32, ID + "\n"])
def test_no_path_is_made_of_what_is_no_id(workspace: Workspace, name: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        artifact_path(workspace, name)
