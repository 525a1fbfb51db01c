"""Artifacts on disk: written whole or not at all, named by id, checked before they are believed.

Files go to `tmp/<id>-<random>/` and are flushed to disk; `MANIFEST.json` (file, size, sha256) comes
last; then one rename puts the folder at `artifacts/<kind>/<id>/`. A folder without a manifest is
garbage, as is one whose manifest is of another id, or names files outside it. The ledger learns of
an artifact only after that: a crash leaves orphans, never dangling rows.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.digests import Digests
from storage.durable import sync
from storage.errors import ArtifactBroken
from storage.ids import content_id, is_id, kind_of
from storage.seals import read_digest
from storage.workspace import Workspace

MANIFEST = "MANIFEST.json"
PARTS = {"id", "components", "files"}  # of a manifest: what else there is, nobody wrote
DIGESTS = "digests.json"  # beside the artifacts: what was read of which state of a file


def artifact_path(workspace: Workspace, artifact_id: str) -> Path:
    """Where the artifact of that id is, or would be. Raises ValueError for what is no id."""
    if not is_id(artifact_id):
        raise ValueError(f"{artifact_id!r} is no id")
    return workspace.artifacts / f"{kind_of(artifact_id)}s" / artifact_id


@contextmanager
def writing(
    workspace: Workspace, artifact_id: str, components: dict[str, Any] | None = None
) -> Iterator[Path]:
    """A fresh folder to write into; at the end of the block it becomes the artifact.

    `components`, what the id is the hash of, go into the manifest beside the files. On an
    exception the folder is deleted and what was there before stays. An artifact that is there
    already is replaced. One writer at a time: whoever calls this holds the device.
    """
    workspace.tmp.mkdir(parents=True, exist_ok=True)
    for left_over in workspace.tmp.glob(f"{artifact_id}-*"):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    folder = workspace.tmp / f"{artifact_id}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
        _seal(folder, artifact_id, components)
        target = artifact_path(workspace, artifact_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        old = folder.with_name(folder.name + "-old")
        if target.exists():
            target.rename(old)
        folder.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _seal(folder: Path, artifact_id: str, components: dict[str, Any] | None) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    found: dict[str, Any] = {"id": artifact_id, "files": [_entry(folder, p) for p in files]}
    if components:
        found["components"] = components
    (folder / MANIFEST).write_text(json.dumps(found, indent=1, sort_keys=True))
    for path in (*files, folder / MANIFEST):
        sync(path)


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    digest = read_digest(path, "sha256")
    return {"file": str(path.relative_to(folder)), "size": path.stat().st_size, "sha256": digest}


def check(path: Path, sha256: Callable[[Path], str] | None = None) -> dict[str, Any]:
    """The manifest, once every file is seen to be there with the content that was written.

    The folder's name begins with the id, as in `artifacts/` and in `tmp/`. A file is read once for
    each state of it (storage/digests.py), unless `sha256` is given to read it with. Raises
    ArtifactBroken naming the first thing that is not as the manifest says.
    """
    found, entries = _manifest(path)
    digests = _digests(path)
    try:
        for name, size, digest in entries:
            _check_file(path, name, size, digest, sha256 or digests.of)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise ArtifactBroken(f"{path}: a file cannot be read ({error})") from None
    digests.try_to_save()  # nothing, where it read nothing
    return found


def listed_files(path: Path) -> list[tuple[str, int, str]]:
    """The manifest's files: name, size in bytes, SHA-256. Raises ArtifactBroken for no manifest,
    and for a name that leads out of the folder.
    """
    entries = _manifest(path)[1]
    for name, _, _ in entries:
        _check_name(path, name)
    return entries


def _digests(path: Path) -> Digests:
    """What was read of the files of a workspace, of which `path` is an artifact or a draft."""
    is_placed = path.parent.parent.name == "artifacts"
    artifacts = path.parents[1] if is_placed else path.parents[1] / "artifacts"
    return Digests(artifacts / DIGESTS, "sha256")


def _manifest(path: Path) -> tuple[dict[str, Any], list[tuple[str, int, str]]]:
    """What an artifact's manifest says, and the files it lists: name, size, SHA-256."""
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise ArtifactBroken(f"{path}: there is no manifest") from None
    if not isinstance(found, dict):
        raise ArtifactBroken(f"{path}: the manifest is no object")
    if not is_id(str(found.get("id"))) or found["id"] != path.name.partition("-")[0]:
        raise ArtifactBroken(f"{path}: the manifest is that of another artifact")
    made_of = found.get("components")
    is_own = not made_of or content_id(str(kind_of(found["id"])), made_of) == found["id"]
    if not is_own or found.keys() - PARTS:
        raise ArtifactBroken(f"{path}: the manifest is not what was written")
    try:
        entries = [(str(e["file"]), e["size"], e["sha256"]) for e in found["files"]]
    except (KeyError, TypeError):
        entries = []
    if not entries:
        raise ArtifactBroken(f"{path}: the manifest lists no files")
    return found, entries


def _check_file(
    folder: Path, name: str, size: int, digest: str, sha256: Callable[[Path], str]
) -> None:
    file, inside = folder / name, _check_name(folder, name)
    if not file.is_file():
        raise ArtifactBroken(f"{file}: missing")
    if any((folder / step).is_symlink() for step in (inside, *inside.parents[:-1])):
        raise ArtifactBroken(f"{file}: a link")
    if (found := file.stat().st_size) != size:
        raise ArtifactBroken(f"{file}: {found} bytes, not {size}")
    if sha256(file) != digest:
        raise ArtifactBroken(f"{file}: its content is not what was written")


def _check_name(folder: Path, name: str) -> Path:
    inside = Path(name)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise ArtifactBroken(f"{folder / name}: no file of the artifact's folder")
    return inside


def is_whole(path: Path) -> bool:
    try:
        return bool(check(path))
    except ArtifactBroken:
        return False
