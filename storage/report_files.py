"""The reports of a workspace, sealed as they are written: a page that was damaged is not shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from storage.seals import read_digest, seal, sealed

SEAL = "SEAL.json"  # no other case of report.json, for file systems that know no case
PAGE = "report.html"


def seal_report(folder: Path, files: Iterable[Path]) -> None:
    """Keep what the files of a report are now; what else lies in its folder is left alone."""
    seal(folder, SEAL, files)


def whole_page(folder: Path) -> Path | None:
    """The page of a report; None where there is none, or a file is not what was written.

    Of a report from before they were sealed it is only known that it is there.
    """
    page = folder / PAGE
    is_whole = not (folder / SEAL).exists() or sealed(folder, SEAL, read_digest) is not None
    return page if page.is_file() and is_whole else None
