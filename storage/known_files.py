"""Which files of a workspace rows of the ledger refer to, and which are there that none does.

A folder counts with all that is in it: whether it holds what it should, its manifest says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from storage.artifacts import DIGESTS, artifact_path
from storage.errors import SolonError
from storage.ids import is_id, kind_of
from storage.ledger import Ledger
from storage.workspace import MODEL_MANIFEST, Workspace

# Beside them the folders: work in progress (tmp, state), what others own (prefect, servers).
BESIDE = ("wal", "journal", "journal.tmp", "new")  # what a kill may leave of a write
LEDGER = {"ledger.duckdb", *(f"ledger.duckdb.{end}" for end in BESIDE)}
LOCKS = ("ledger.lock", "ledger.host", "device.lock", "keep.lock")
OWN = frozenset({*LEDGER, *LOCKS, "mlflow.db"})  # MLflow's, where a recipe has it follow
OWN_FOLDERS = frozenset({"tmp", "state", "prefect", "servers"})
LOG_ENDS = (".log", ".log.spec.json")  # of what belongs to no run: a model is converted, merged
NAME = re.compile(r"[a-z]+_\w+", re.ASCII)  # an id, a run's random one too: never a way elsewhere
ROWS = """
    SELECT checkpoint_id AS id FROM checkpoints
    UNION ALL SELECT dataset_id FROM datasets
    UNION ALL SELECT run_id FROM runs"""


def known_files(ledger: Ledger, workspace: Workspace) -> dict[Path, str]:
    """Folders that rows refer to, whether they are there or not, by the row's id.

    artifacts/KIND/ID of every checkpoint and evaluation; reports/ID of evaluations, snapshots and
    runs; logs/ID of runs; of models/ the folders of the models that are named.
    """
    found: dict[Path, str] = {}
    for row in ledger.query(ROWS):
        row_id = str(row["id"])
        if not NAME.fullmatch(row_id):
            continue
        found[workspace.reports / row_id] = row_id
        if kind_of(row_id) in ("checkpoint", "evaluation") and is_id(row_id):
            found[artifact_path(workspace, row_id)] = row_id
        elif kind_of(row_id) == "run":
            found[workspace.logs / row_id] = row_id
    return found | _models(ledger, workspace)


def _models(ledger: Ledger, workspace: Workspace) -> dict[Path, str]:
    """The folders in models/ of which a row has the id or the reference."""
    named = ledger.query("SELECT model_id, reference FROM models")
    by_name = {str(row["reference"]): str(row["model_id"]) for row in named}
    ids = set(by_name.values()) | {str(row["model_id"]) for row in named}
    found: dict[Path, str] = {}
    for folder in model_folders(workspace):
        manifest = _manifest(folder)
        name = str(manifest.get("name"))
        row_id = by_name.get(name) or by_name.get(name.removesuffix("@main"))
        if manifest.get("model_id") in ids:
            row_id = str(manifest["model_id"])
        if row_id:
            found[folder] = row_id
    return found


def model_folders(workspace: Workspace) -> list[Path]:
    """The folders in models/ that say what they are, named by a row or not."""
    places = sorted(workspace.models.glob(f"*/{MODEL_MANIFEST}"))
    return [path.parent for path in places]


def unknown_files(ledger: Ledger, workspace: Workspace) -> list[Path]:
    """What lies in the workspace though no row refers to it, and it is neither Solon's own
    bookkeeping nor work in progress. A folder stands for all that is in it.

    A model's folder that no row names is not among them: it is made once for whoever asks it.
    """
    known = {*known_files(ledger, workspace), *model_folders(workspace)}
    return [path for path in _entries(workspace) if path not in known]


def _entries(workspace: Workspace) -> Iterator[Path]:
    """What would have to be known: the entries of the workspace, and of the folders rows are in."""
    folders = {workspace.models, workspace.artifacts, workspace.logs, workspace.reports}
    kinds = {workspace.artifacts / name for name in ("checkpoints", "evaluations")}
    for path in _in(workspace.root):
        if path not in folders and path.name not in OWN and path.name not in OWN_FOLDERS:
            yield path
    for folder in sorted(folders | kinds):
        for path in _in(folder):
            if path not in kinds and not _is_own(path, workspace):
                yield path


def _is_own(path: Path, workspace: Workspace) -> bool:
    is_log = path.parent == workspace.logs and path.name.endswith(LOG_ENDS)
    digests = workspace.models / DIGESTS, workspace.artifacts / DIGESTS
    return is_log or path in (*digests, workspace.templates)


def _in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SolonError(f"{folder}: cannot be read ({error.strerror})") from error


def _manifest(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / MODEL_MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
