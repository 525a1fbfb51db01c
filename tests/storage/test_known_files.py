"""Which files rows refer to, and what lies in a workspace that none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.artifacts import artifact_path, writing
from storage.ids import content_id
from storage.known_files import known_files, unknown_files
from storage.ledger import Ledger, insert, now
from storage.seals import seal
from storage.workspace import MODEL_MANIFEST, Workspace

CHECKPOINT, EVALUATION, RUN = content_id("checkpoint", 1), content_id("evaluation", 1), "run_a"
MODEL, HUB = content_id("model", 1), content_id("model", 2)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkpoint and an evaluation with what else they and their run leave behind."""
    found = Workspace(tmp_path / "home").create()
    empty = dict.fromkeys(("base_model_id", "dataset_id", "run_id", "stage", "path"), "")
    lists = {"parent_ids": [], "parent_roles": [], "components": "{}", "duration_s": 0.0}
    checkpoints = [
        empty | lists | {"checkpoint_id": name, "created_at": now()}
        for name in (CHECKPOINT, EVALUATION)
    ]
    models = [
        {"model_id": MODEL, "kind": "random", "reference": "random:tiny", "created_at": now()},
        {"model_id": HUB, "kind": "hub", "reference": "owner/name", "created_at": now()},
    ]
    run = {"run_id": RUN, "recipe": "demo", "settings": "{}", "state": "completed"}
    with Ledger(found.ledger).transaction() as con:
        insert(con, "checkpoints", checkpoints)
        insert(con, "models", models)
        insert(con, "runs", [run | {"started_at": now()}])
    for name in (CHECKPOINT, EVALUATION):
        with writing(found, name) as out:
            (out / "weights").write_bytes(b"x")
    for folder in (found.logs / RUN, found.reports / RUN, found.reports / EVALUATION):
        folder.mkdir(parents=True)
    for place, name in ((MODEL, "random:tiny"), ("hub--owner--name--main", "owner/name@main")):
        (found.models / place).mkdir()
        seal(found.models / place, MODEL_MANIFEST, model_id=place, name=name)
    return found


def test_rows_know_their_folders(workspace: Workspace) -> None:
    known = known_files(Ledger(workspace.ledger), workspace)
    assert known[artifact_path(workspace, CHECKPOINT)] == CHECKPOINT
    assert known[artifact_path(workspace, EVALUATION)] == EVALUATION
    assert known[workspace.logs / RUN] == known[workspace.reports / RUN] == RUN
    assert known[workspace.models / MODEL] == MODEL
    assert workspace.models / "hub--owner--name--main" in known
    assert unknown_files(Ledger(workspace.ledger), workspace) == []


def test_what_no_row_knows_is_named(workspace: Workspace) -> None:
    stray = [
        workspace.root / "notes.txt",
        workspace.artifacts / "checkpoints" / content_id("checkpoint", 2),
        workspace.artifacts / "else",
        workspace.logs / "run_b",
        workspace.reports / content_id("dataset", 1),
        workspace.models / "mdl_torn",
    ]
    for path in stray:
        path.mkdir(parents=True)
    own = [workspace.logs / "convert.log", workspace.models / "digests.json"]
    own.append(workspace.artifacts / "digests.json")
    for path in own:
        path.touch()
    assert set(unknown_files(Ledger(workspace.ledger), workspace)) == set(stray)


def test_a_hostile_id_names_no_folder(workspace: Workspace) -> None:
    run = {"run_id": "run_../../x", "recipe": "demo", "settings": "{}", "state": "completed"}
    with Ledger(workspace.ledger).transaction() as con:
        insert(con, "runs", [run | {"started_at": now()}])
    paths = known_files(Ledger(workspace.ledger), workspace)
    assert all(".." not in path.parts for path in paths)
