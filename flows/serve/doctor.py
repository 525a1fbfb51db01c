"""`solon doctor`: find what kills and crashes leave behind, say it, mend it when asked.

It never deletes a whole artifact or a committed row. What only a run can mend (an artifact that is
gone or damaged) it names and leaves. A name in a file is believed only where it has the form of
an id, so nothing outside the workspace is touched.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from flows.run.killed import end_run, is_alive, killed_runs, workers
from flows.serve import zombies
from flows.serve.findings import Examination
from storage.artifacts import artifact_path, is_whole
from storage.ids import is_id
from storage.lease import network_type
from storage.workspace import Workspace
from tasks.integrity.faults import Looked
from tasks.integrity.files import Files
from tasks.integrity.keys import broken_keys
from tasks.model_files import Digests

NOT_LOOKED_AT = "ids of rows, files that no row knows, bytes read before: solon verify looks at all"
SHARED = "processes and locks of other machines: this workspace is on {}; use it on one at a time"
LOCKS = ("*.lock", "prefect/*.lock")


def examine(workspace: Workspace, fix: bool = False) -> Examination:
    """Look at everything, the causes before what hangs on them; with `fix`, mend it.

    Raises LedgerDamaged before anything is touched where the ledger cannot be read.
    """
    seen = Examination(workspace, fix)
    if workspace.root.is_dir():
        seen.ledger.query("SELECT 1")
        _orphans(seen)
        _locks(seen)
        _runs(seen)
        _left_overs(seen)
        _artifacts(seen)
        _integrity(seen)
        zombies.look(seen)
        if seen.ledger.exists:
            seen.skipped.append(NOT_LOOKED_AT)
        if kind := network_type(workspace.root):
            seen.skipped.append(SHARED.format(kind))
    return seen


ELSEWHERE = "SELECT run_id, host FROM runs WHERE state = 'running' AND host <> ? ORDER BY run_id"


def _orphans(seen: Examination) -> None:
    for worker in workers(seen.workspace):
        subject, detail = f"process {worker.pid}", f"its run is gone ({worker.spec})"
        if worker.is_orphan and seen.found("orphan", subject, detail, "killed"):
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)


def _locks(seen: Examination) -> None:
    """A lock's note outlives its holder only where the holder was killed."""
    for path in sorted(path for pattern in LOCKS for path in seen.workspace.root.glob(pattern)):
        if path.is_symlink() or not _is_inside(seen, path) or not os.access(path, os.W_OK):
            continue
        with path.open("r+b") as file, suppress(BlockingIOError):  # held: its note is right
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid = _noted_pid(file.read(4096))
            detail = f"names process {pid}, which is gone"
            if pid and not is_alive(pid) and seen.found("lock", path.name, detail, "emptied"):
                file.truncate(0)


def _noted_pid(note: bytes) -> int:
    try:
        return int(json.loads(note)["pid"])
    except (ValueError, KeyError, TypeError):
        return 0


def _runs(seen: Examination) -> None:
    for run in killed_runs(seen.ledger):
        detail = f"is running in the ledger, but its process {run['pid']} is gone"
        if seen.found("run", run["run_id"], detail, "closed as failed"):
            end_run(seen.ledger, run)
    dead = {run["run_id"] for run in killed_runs(seen.ledger)}
    for run in seen.ledger.query(ELSEWHERE, [platform.node()]):
        if run["run_id"] not in dead:
            seen.skipped.append(f"{run['run_id']}: it runs on {run['host']}; solon gc waits for it")


def _artifacts(seen: Examination) -> None:
    sql = "SELECT checkpoint_id FROM checkpoints"
    known = {row["checkpoint_id"] for row in seen.ledger.query(sql)}
    folders = seen.workspace.artifacts.glob("*/*")
    places = (path for path in folders if path == _place(seen, path.name))
    there = {path.name: path for path in places if _is_inside(seen, path)}
    for artifact_id in sorted(known | set(there)):
        path = there.get(artifact_id) or _place(seen, artifact_id)
        if path is None or is_whole(path):
            continue
        if artifact_id in known:
            detail = "files are missing or damaged" if path.exists() else "its files are gone"
            action = "the next run that needs it makes it again"
            seen.found("artifact", artifact_id, detail, action, mends=False)
        elif _is_idle(seen):
            detail = "torn, and unknown to the ledger"
            if seen.found("artifact", artifact_id, detail, "deleted"):
                _delete(path)


def _integrity(seen: Examination) -> None:
    """The quick part of `solon verify`: keys between rows, models and reports, each file read once
    for each state of it."""
    looked = Looked(faults=broken_keys(seen.ledger) if seen.ledger.exists else [])
    digests = Digests(seen.workspace)
    Files(seen.workspace, seen.ledger, looked, None).look_at_rest(digests)
    digests.try_to_save()
    for fault in looked.faults:
        kind = "file" if "/" in fault.subject else "row"
        seen.found(kind, fault.subject, fault.rule, fault.repair, mends=False)
    seen.skipped += looked.skipped


def _left_overs(seen: Examination) -> None:
    """Work in progress that nobody is at; trainer states of checkpoints that are whole."""
    for path in _entries(seen, seen.workspace.tmp):
        if not _is_idle(seen):
            seen.skipped.append("tmp: a run is open, here or on another machine")
            break
        _left_over(seen, path)
    for path in _entries(seen, seen.workspace.state):
        place = _place(seen, path.name)
        is_done = place is not None and is_whole(place)
        if is_done and seen.found("state", path.name, "its checkpoint is whole", "deleted"):
            _delete(path)


def _left_over(seen: Examination, path: Path) -> None:
    """A kill between two renames leaves a whole artifact aside: that one is put in place."""
    is_whole_one = is_whole(path) and not path.is_symlink()
    target = _place(seen, path.name.partition("-")[0]) if is_whole_one else None
    if target is None or is_whole(target):
        if seen.found("tmp", path.name, "left by a run that was killed", "deleted"):
            _delete(path)
    elif seen.found("tmp", path.name, "a whole artifact that is not in its place", "put there"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _delete(target)
        path.rename(target)


def _entries(seen: Examination, folder: Path) -> list[Path]:
    """What lies in a folder of the workspace, sorted; nothing where that leads elsewhere."""
    found = sorted(folder.glob("*"))
    if found and not _is_inside(seen, found[0]):
        seen.skipped.append(f"{folder.name}: a link to another place")
        return []
    return found


def _is_inside(seen: Examination, path: Path) -> bool:
    """Whether no folder on the way from the workspace to `path` is a link."""
    root, parent = seen.workspace.root, path.parent
    return parent.resolve() == root.resolve() / parent.relative_to(root)


def _place(seen: Examination, artifact_id: str) -> Path | None:
    """Where the artifact of that id belongs; None for what is no id."""
    return artifact_path(seen.workspace, artifact_id) if is_id(artifact_id) else None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # a run that goes on deletes the same
    else:
        path.unlink(missing_ok=True)


def _is_idle(seen: Examination) -> bool:
    """Nobody makes files here: no worker lives, no run is open that was not killed."""
    if any(not worker.is_orphan for worker in workers(seen.workspace)):
        return False
    dead = {run["run_id"] for run in killed_runs(seen.ledger)}
    open_ = seen.ledger.query("SELECT run_id FROM runs WHERE state = 'running'")
    return all(run["run_id"] in dead for run in open_)
