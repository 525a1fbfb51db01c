"""Write the page to the file that was named: whole or not at all, and over nothing but a page."""

from __future__ import annotations

import os
from pathlib import Path

from flows.explain.compare.page import GENERATOR, HEAD
from storage.durable import replace_text
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
    """Write so that a reader sees the old page or the new one; see `check_target`."""
    check_target(path)
    replace_text(path, text)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(len(HEAD))
