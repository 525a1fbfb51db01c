"""Artifacts on disk: written whole or not at all, named by id, checked before they are believed.

Files go to `tmp/<id>-<random>/` and are flushed to disk; `MANIFEST.json` (file, size, sha256) comes
last; then one rename puts the folder at `artifacts/<kind>/<id>/`. A folder without a manifest is
garbage. The ledger learns of an artifact only after that: a crash leaves orphans, never dangling
rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import ArtifactBroken
from storage.ids import kind_of
from storage.workspace import Workspace

MANIFEST = "MANIFEST.json"


def artifact_path(workspace: Workspace, artifact_id: str) -> Path:
    """Where the artifact of that id is, or would be."""
    return workspace.artifacts / f"{kind_of(artifact_id)}s" / artifact_id


@contextmanager
def writing(workspace: Workspace, artifact_id: str, **facts: Any) -> Iterator[Path]:
    """A fresh folder to write into; at the end of the block it becomes the artifact.

    `facts` go into the manifest beside the files. On an exception the folder is deleted and what
    was there before stays. An artifact that is there already is replaced. One writer at a time:
    whoever calls this holds the device.
    """
    workspace.tmp.mkdir(parents=True, exist_ok=True)
    for left_over in workspace.tmp.glob(f"{artifact_id}-*"):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    folder = workspace.tmp / f"{artifact_id}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
        _seal(folder, artifact_id, facts)
        _move_into_place(folder, artifact_path(workspace, artifact_id))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _seal(folder: Path, artifact_id: str, facts: dict[str, Any]) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listing = [
        {"file": str(p.relative_to(folder)), "size": p.stat().st_size, "sha256": _sha256(p)}
        for p in files
    ]
    for path in files:
        _fsync(path)
    manifest = folder / MANIFEST
    manifest.write_text(
        json.dumps({"id": artifact_id, **facts, "files": listing}, indent=1, sort_keys=True)
    )
    _fsync(manifest)


def _move_into_place(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        folder_of_old = folder.with_name(folder.name + "-old")
        os.rename(target, folder_of_old)
        os.rename(folder, target)
        shutil.rmtree(folder_of_old, ignore_errors=True)
    else:
        os.rename(folder, target)
    _fsync(target.parent)


def manifest(path: Path) -> dict[str, Any]:
    """The manifest of the artifact at `path`. Raises ArtifactBroken where there is none."""
    try:
        found = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        raise ArtifactBroken(f"{path}: there is no manifest") from None
    if not isinstance(found, dict):
        raise ArtifactBroken(f"{path}: the manifest is no object")
    return found


def check(path: Path, deep: bool = False) -> dict[str, Any]:
    """The manifest, once every file is seen to be there with its size; `deep` hashes them too.

    Raises ArtifactBroken naming the first file that is not as the manifest says.
    """
    found = manifest(path)
    for entry in found.get("files", []):
        file = path / entry["file"]
        if not file.is_file():
            raise ArtifactBroken(f"{file}: missing")
        if file.stat().st_size != entry["size"]:
            raise ArtifactBroken(f"{file}: {file.stat().st_size} bytes, not {entry['size']}")
        if deep and _sha256(file) != entry["sha256"]:
            raise ArtifactBroken(f"{file}: its content is not what was written")
    return found


def is_whole(path: Path) -> bool:
    try:
        check(path)
    except ArtifactBroken:
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
