"""A report as files: report.html, report.md, the pictures beside it and, where given, its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.explain.compare.text import escaped
from flows.explain.document.markdown import markdown
from flows.explain.document.page import check_target, write_page
from flows.explain.document.parts import Document
from flows.explain.document.style import alone
from storage.durable import replace_text
from storage.errors import InputError
from storage.report_files import PAGE, seal_report

TEXT, DATA = "report.md", "report.json"


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


def write(folder: Path, document: Document, data: Mapping[str, Any] | None = None) -> Path:
    """Write or rewrite the report; returns the page's path. See `check_folder`.

    `data`: what report.json shall hold.
    """
    check_folder(folder, document.author)
    _write(folder, document, data)
    return folder / PAGE


def put(folder: Path, document: Document, data: Mapping[str, Any] | None = None) -> Path:
    """As `write`, into a folder of the workspace's own, whatever else lies there; sealed."""
    seal_report(folder, _write(folder, document, data))
    return folder / PAGE


def _write(folder: Path, document: Document, data: Mapping[str, Any] | None) -> list[Path]:
    """Write the files of a report; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {picture.name: alone(picture) for picture in document.pictures}
    texts[TEXT] = markdown(document)
    if data is not None:
        texts[DATA] = escaped(json.dumps(data, indent=1, ensure_ascii=False)) + "\n"
    for name, text in texts.items():
        replace_text(folder / name, text)
    write_page(folder / PAGE, document, "--out")
    return [folder / name for name in (*texts, PAGE)]
