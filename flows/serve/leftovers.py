"""The files of a workspace that no row needs: which they are, and how they go.

They are moved aside together, under the ledger's lock, while no run is open: a run that begins
later finds none of them, and whatever it makes in their place stays.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.run.killed import workers
from storage.artifacts import artifact_path
from storage.errors import SolonError
from storage.ids import is_id, kind_of
from storage.left import Left
from storage.workspace import Workspace
from tasks.models import parse, there

ASIDE = "gc-"
OF_ROWS = ("checkpoint", "evaluation", "dataset", "run")
AT_WORK_S = 3600.0  # work in progress that was touched since then is left alone


@dataclass(frozen=True)
class Doomed:
    """A file or folder that goes. what: artifacts, reports, logs, state, storage, tmp or models."""

    path: Path
    what: str


def doomed(
    workspace: Workspace, left: Left, spared: frozenset[Path], gone: frozenset[str]
) -> list[Doomed]:
    """What lies there that no row needs.

    spared: the folders of models that are in use; gone: ids of which the rows were just deleted.
    """
    places = (
        (workspace.artifacts, "*/*", _is_artifact),
        (workspace.reports, "*", _is_named),
        (workspace.logs, "run_*", _is_named),
        (workspace.state, "*", _is_state),
        (workspace.prefect / "storage", "*-*", _is_result),
    )
    found = [
        Doomed(path, folder.name)
        for folder, pattern, is_needless in places
        for path in _inside(workspace, folder, pattern)
        if path.name in gone or is_needless(workspace, path, left)
    ]
    found += [Doomed(path, "tmp") for path in _tmp(workspace)]
    models = (p for p in _known_models(workspace, left) if p not in spared and p.is_dir())
    return found + [Doomed(path, "models") for path in sorted(models)]


def models_in_use(workspace: Workspace, left: Left) -> frozenset[Path]:
    """The folders of the models that are kept; of all, where one cannot be told."""
    found: set[Path] = set()
    for reference in left.used:
        try:
            if parse(reference).kind in ("package", "hub", "random"):
                found |= {path for path in (there(reference, workspace),) if path}
        except SolonError:  # a package that is not installed here, or no reference of a model
            if reference.startswith(("package:", "random:")) and " " not in reference:
                return frozenset(workspace.models.glob("*"))
    return frozenset(found)


def move_aside(workspace: Workspace, found: list[Doomed]) -> Path:
    """Take them all from where they are; the folder that holds them from then on."""
    aside = workspace.tmp / f"{ASIDE}{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    for number, each in enumerate(found):
        if each.path.parent != workspace.tmp or not each.path.name.startswith(ASIDE):
            each.path.rename(aside / str(number))
    return aside


def delete_aside(workspace: Workspace) -> None:
    """What was moved aside, by this process or by one that was killed."""
    for path in workspace.tmp.glob(f"{ASIDE}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _inside(workspace: Workspace, folder: Path, pattern: str) -> Iterator[Path]:
    """Entries of a folder, none of which a link on the way leads elsewhere."""
    root = workspace.root.resolve()
    for path in sorted(folder.glob(pattern)):
        if path.parent.resolve() == root / path.parent.relative_to(workspace.root):
            yield path


def _is_artifact(workspace: Workspace, path: Path, left: Left) -> bool:
    """Unknown to the ledger; but what a kept run wrote before it was killed is taken over."""
    name = path.name
    is_own = is_id(name) and path == artifact_path(workspace, name)
    return is_own and name not in left.ids and not _is_of_kept_run(path, left)


def _is_named(workspace: Workspace, path: Path, left: Left) -> bool:
    return is_id(path.name) and kind_of(path.name) in OF_ROWS and path.name not in left.ids


def _is_state(workspace: Workspace, path: Path, left: Left) -> bool:
    """Of a trainer that has finished, or that no kept run was at; what people wait for stays."""
    if not is_id(path.name):
        return False
    return path.name in left.ids or not _is_of_kept_run(path, left)


def _is_result(_workspace: Workspace, path: Path, left: Left) -> bool:
    """Of a task that made what is gone; Prefect keeps one for each (see run/stages.py)."""
    name = path.name.rpartition("-")[2]
    return is_id(name) and name not in left.ids


def _is_of_kept_run(path: Path, left: Left) -> bool:
    """Whether it was last written to while a kept run ran."""
    at = datetime.fromtimestamp(_touched(path), UTC)
    now = datetime.now(UTC)
    return any(run["started_at"] <= at <= (run["ended_at"] or now) for run in left.runs)


def _touched(path: Path) -> float:
    return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))


def _tmp(workspace: Workspace) -> Iterator[Path]:
    """Work in progress that nobody is at."""
    is_busy = any(not worker.is_orphan for worker in workers(workspace))
    for path in _inside(workspace, workspace.tmp, "*"):
        is_old = time.time() - _touched(path) > AT_WORK_S
        if path.name.startswith(ASIDE) or (is_old and not is_busy):
            yield path


def _known_models(workspace: Workspace, left: Left) -> set[Path]:
    """The folders of models that rows name and nothing kept needs."""
    found: set[Path] = set()
    for reference in left.known - left.used:
        try:
            if parse(reference).kind in ("package", "hub", "random"):
                found |= {path for path in (there(reference, workspace),) if path}
        except SolonError:
            continue
    return {path for path in found if path.parent == workspace.models}
