"""Write the page to the file that was named: whole or not at all, and over nothing but a page."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from flows.explain.compare.page import GENERATOR, HEAD
from storage.errors import InputError


def check_target(path: Path) -> None:
    """Raise InputError unless a page may be written here: a new file, or a page of ours."""
    if not path.parent.is_dir():
        raise InputError(str(path), "its folder is not there", "make the folder first", "--html")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        rule = "its folder may not be written to"
        raise InputError(str(path), rule, "name a file in another folder", "--html")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(str(path), "is no regular file", "name a new file", "--html")
    if path.exists() and not _is_ours(path):
        rule = "the file is there, and solon diff did not write it"
        raise InputError(str(path), rule, "name a new file, or delete this one", "--html")


def write_page(path: Path, text: str) -> None:
    """Write beside the file and rename, so that a reader sees the old page or the new one.

    A page that was there keeps its permissions.
    """
    check_target(path)
    beside = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(len(HEAD))
