"""Folders sealed by sizes and digests of their files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from storage.durable import replace_text, sync
from storage.ids import canonical_json, digest

Algorithm = Literal["blake2b", "sha256"]
HASHES: dict[Algorithm, Callable[[], Any]] = {
    "blake2b": partial(hashlib.blake2b, digest_size=16),
    "sha256": hashlib.sha256,
}


def read_digest(path: Path, algorithm: Algorithm = "blake2b") -> str:
    """The digest of a file as it is now, in hexadecimal digits (about 1 GB/s)."""
    with path.open("rb") as file:
        return str(hashlib.file_digest(file, HASHES[algorithm]).hexdigest())


def seal(folder: Path, name: str, /, only: Iterable[Path] | None = None, **facts: Any) -> None:
    """Sync every file of a folder, or `only` these, then write `name` into it: the facts, each
    file's size and BLAKE2b-128, and the digest of all that (`seal`), so that no letter of it can
    change unseen.
    """
    there = (p for p in folder.rglob("*") if p.is_file() and name not in p.name)
    files = sorted(there if only is None else only)
    for path in files:
        sync(path)
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    digests = {str(path.relative_to(folder)): read_digest(path) for path in files}
    found = {**facts, "files": sizes, "blake2b": digests}
    found["seal"] = digest(canonical_json(found))
    replace_text(folder / name, json.dumps(found, indent=1))


def sealed(
    folder: Path, name: str, digest_of: Callable[[Path], str] | None = None
) -> dict[str, Any] | None:
    """What `seal` wrote; None where it is missing or changed, or a file is not of the size it says;
    with `digest_of` (BLAKE2b-128), also where a file's content is another.

    Seals from before they had digests are held to the sizes alone.
    """
    try:
        found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
        sizes, digests = found["files"], found.get("blake2b", {})
        is_whole = all((folder / file).stat().st_size == size for file, size in sizes.items())
        if "blake2b" in found or "seal" in found:
            rest = {key: value for key, value in found.items() if key != "seal"}
            is_whole &= digests.keys() == sizes.keys()
            is_whole &= found["seal"] == digest(canonical_json(rest))
            if is_whole and digest_of:
                is_whole = all(digest_of(folder / file) == digests[file] for file in digests)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return found if is_whole else None
