from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import artifact_path, check, is_whole, writing
from storage.errors import ArtifactBroken
from storage.ids import content_id
from storage.workspace import Workspace

PARTS = {"stage": "sft", "settings": {"learning_rate": 5e-05, "epochs": 1}}
ID = content_id("checkpoint", PARTS)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home").create()


def write(workspace: Workspace, text: str = "weights") -> Path:
    with writing(workspace, ID, PARTS) as folder:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "file").write_text(text)
    return artifact_path(workspace, ID)


def test_an_artifact_is_whole_and_leaves_no_scraps(workspace: Workspace) -> None:
    path = write(workspace)
    assert check(path)["components"] == PARTS
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


@pytest.mark.parametrize("name", ["adapter/file", "MANIFEST.json"])
def test_a_flipped_bit_is_seen_though_size_and_time_are_put_back(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.digests.SETTLED_NS", 0)  # what was read just now is remembered
    path = write(workspace)
    check(path)
    file, content = path / name, (path / name).read_bytes()
    for place in range(len(content)):
        before = file.stat()
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert not is_whole(path), (name, place)
    file.write_bytes(content)
    assert is_whole(path)


def test_a_file_is_read_once_for_each_state_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.digests.SETTLED_NS", 0)
    path = write(workspace)
    check(path)
    kept = json.loads((workspace.artifacts / "digests.json").read_text())
    assert list(kept) == [str(path / "adapter" / "file")]
    monkeypatch.setattr("storage.digests._READ", {})  # as another process
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", None)
        check(path)
    (workspace.artifacts / "digests.json").write_text("[5")
    monkeypatch.setattr("storage.digests._READ", {})
    check(path)


def test_what_changed_a_moment_ago_is_not_remembered(workspace: Workspace) -> None:
    check(write(workspace))
    assert not (workspace.artifacts / "digests.json").exists()


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
