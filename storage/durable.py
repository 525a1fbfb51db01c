"""Writing so that a crash leaves what was there or what is new, never a part of it."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it; a file that was there keeps its permissions."""
    beside = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o7777)
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def seal(folder: Path, name: str, /, **facts: Any) -> None:
    """Sync every file of a folder, then write `name` into it: the facts, and each file's size."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and name not in p.name)
    for path in files:
        sync(path)
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    replace_text(folder / name, json.dumps({**facts, "files": sizes}, indent=1))


def sealed(folder: Path, name: str) -> dict[str, Any] | None:
    """What `seal` wrote; None where it is missing, or a file is not of the size it says."""
    try:
        found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
        sizes = found["files"].items()
        is_whole = all((folder / file).stat().st_size == size for file, size in sizes)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return found if is_whole else None
