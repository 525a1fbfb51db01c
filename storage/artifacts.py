"""Artifacts on disk: written whole or not at all, named by id, checked before they are believed.

Files go to `tmp/<id>-<random>/` and are flushed to disk; `MANIFEST.json` (file, size, sha256) comes
last; then one rename puts the folder at `artifacts/<kind>/<id>/`. A folder without a manifest is
garbage, as is one whose manifest is of another id, or names files outside it. The ledger learns of
an artifact only after that: a crash leaves orphans, never dangling rows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from storage.durable import sync
from storage.errors import ArtifactBroken
from storage.ids import is_id, kind_of
from storage.workspace import Workspace

MANIFEST = "MANIFEST.json"


def artifact_path(workspace: Workspace, artifact_id: str) -> Path:
    """Where the artifact of that id is, or would be. Raises ValueError for what is no id."""
    if not is_id(artifact_id):
        raise ValueError(f"{artifact_id!r} is no id")
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


def _seal(folder: Path, artifact_id: str, facts: dict[str, Any]) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listing = [
        {"file": str(p.relative_to(folder)), "size": p.stat().st_size, "sha256": _sha256(p)}
        for p in files
    ]
    found = {"id": artifact_id, **facts, "files": listing}
    (folder / MANIFEST).write_text(json.dumps(found, indent=1, sort_keys=True))
    for path in (*files, folder / MANIFEST):
        sync(path)


def check(path: Path) -> dict[str, Any]:
    """The manifest, once every file is seen to be there with the content that was written.

    The folder's name begins with the id, as in `artifacts/` and in `tmp/`. A file is hashed once a
    process, for as long as size, times and place on the disk stay as they are (about 1.5 GB/s).
    Raises ArtifactBroken naming the first thing that is not as the manifest says.
    """
    try:
        found = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        raise ArtifactBroken(f"{path}: there is no manifest") from None
    if not isinstance(found, dict):
        raise ArtifactBroken(f"{path}: the manifest is no object")
    if not is_id(str(found.get("id"))) or found["id"] != path.name.partition("-")[0]:
        raise ArtifactBroken(f"{path}: the manifest is that of another artifact")
    try:
        entries = [(str(e["file"]), e["size"], e["sha256"]) for e in found["files"]]
    except (KeyError, TypeError):
        entries = []
    if not entries:
        raise ArtifactBroken(f"{path}: the manifest lists no files")
    try:
        for name, size, digest in entries:
            _check_file(path, name, size, digest)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise ArtifactBroken(f"{path}: a file cannot be read ({error})") from None
    return found


def _check_file(folder: Path, name: str, size: int, digest: str) -> None:
    file, inside = folder / name, Path(name)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise ArtifactBroken(f"{file}: no file of the artifact's folder")
    if not file.is_file():
        raise ArtifactBroken(f"{file}: missing")
    if any((folder / step).is_symlink() for step in (inside, *inside.parents[:-1])):
        raise ArtifactBroken(f"{file}: a link")
    if (found := file.stat().st_size) != size:
        raise ArtifactBroken(f"{file}: {found} bytes, not {size}")
    if _sha256(file) != digest:
        raise ArtifactBroken(f"{file}: its content is not what was written")


def is_whole(path: Path) -> bool:
    try:
        return bool(check(path))
    except ArtifactBroken:
        return False


def _sha256(path: Path) -> str:
    s = path.stat()
    return _read_sha256(path, (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino))


@lru_cache(maxsize=4096)
def _read_sha256(path: Path, _stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
