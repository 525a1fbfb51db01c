"""A report as files: report.html, report.md and the pictures beside it."""

from __future__ import annotations

from pathlib import Path

from flows.explain.document.markdown import markdown
from flows.explain.document.page import check_target, write_page
from flows.explain.document.parts import Document
from storage.durable import replace_text
from storage.errors import InputError

PAGE = "report.html"


def check_folder(folder: Path, author: str) -> None:
    """Raise InputError unless a report may be written here: the folder is new or empty, or its
    page is one of this command's.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(str(folder), "is no folder", "name a new one", "--out")
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / PAGE).exists():
        rule = "the folder has something in it that is no report"
        raise InputError(str(folder), rule, "name a new or empty one", "--out")
    check_target(folder / PAGE, author, "--out")


def write(folder: Path, document: Document) -> Path:
    """Write or rewrite the report; returns the page's path. See `check_folder`."""
    check_folder(folder, document.author)
    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder / PAGE, document, "--out")
    for picture in document.pictures:
        replace_text(folder / picture.name, picture.svg)
    replace_text(folder / "report.md", markdown(document))
    return folder / PAGE
