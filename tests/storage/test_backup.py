from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import artifact_path, is_whole, writing
from storage.backup import PASSED_ON, back_up, restore
from storage.errors import InputError, SolonError
from storage.ids import content_id
from storage.ledger import Ledger, insert, now
from storage.object_store import Backup, Store
from storage.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = content_id("checkpoint", 1)
A_LINK = "recipes/link: a link"


def silent(count: int) -> None: ...


def prompt(name: str) -> dict[str, Any]:
    row = {"prompt_id": name, "messages": "[]", "category": None, "source": "x"}
    return row | {"source_line": 1, "created_at": now()}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkpoint, a recipe of somebody's, a run that is going on, and what is not kept."""
    made = Workspace(tmp_path / "home").create()
    with writing(made, CHECKPOINT) as out:
        (out / "adapter").write_bytes(b"weights" * 1000)
    checkpoint: dict[str, Any] = {
        "checkpoint_id": CHECKPOINT,
        "base_model_id": "m",
        "dataset_id": "d",
    }
    checkpoint |= {"run_id": "run_1", "parent_ids": ["m"], "parent_roles": ["base"]}
    checkpoint |= {"stage": "dpo", "components": "{}", "path": "p", "duration_s": 1.0}
    run = {"run_id": "run_1", "recipe": "r", "settings": "{}", "state": "running"}
    with Ledger(made.ledger).transaction() as con:
        insert(con, "checkpoints", [checkpoint | {"created_at": now()}])
        insert(con, "runs", [run | {"started_at": now()}])
    for name in ("recipes/mine.yaml", "prefect/login", "tmp/half", "state/x/y"):
        (made.root / name).parent.mkdir(parents=True, exist_ok=True)
        (made.root / name).write_text(name)
    (made.root / "recipes" / "link").symlink_to("/etc/passwd")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def make(workspace: Workspace, store: Store) -> Backup:
    return back_up(workspace, Store(store.root).create(), silent)


def test_what_is_restored_is_what_was_there(workspace: Workspace, store: Store) -> None:
    made = make(workspace, store)
    back = restore(store, made, workspace.root.with_name("back"), silent)
    assert is_whole(artifact_path(back, CHECKPOINT))
    files = {str(p.relative_to(back.root)) for p in back.root.rglob("*") if p.is_file()}
    artifact = f"artifacts/checkpoints/{CHECKPOINT}"
    kept = {"ledger.duckdb", "recipes/mine.yaml", f"{artifact}/adapter"}
    assert files - {"ledger.lock"} == kept | {f"{artifact}/MANIFEST.json"}
    (run,) = Ledger(back.ledger).query("SELECT state, message FROM runs")
    assert run == {"state": "failed", "message": PASSED_ON}
    assert Ledger(workspace.ledger).query("SELECT state FROM runs") == [{"state": "running"}]
    with pytest.raises(InputError, match="nothing is written over"):
        restore(store, made, back.root, silent)


def test_a_second_backup_copies_only_what_is_new(workspace: Workspace, store: Store) -> None:
    first = make(workspace, store)
    assert make(workspace, store).new_bytes == 0
    (workspace.root / "recipes" / "new.yaml").write_text("12345")
    assert make(workspace, store).new_bytes == 5
    assert len(store.backups()) == 3
    assert store.find(first.id[:6]) == first
    with pytest.raises(InputError, match="no backup has this id"):
        store.find("zz")


def test_what_is_damaged_is_found_and_nothing_is_left(workspace: Workspace, store: Store) -> None:
    made = make(workspace, store)
    adapter = next(entry for entry in made.files if entry.file.endswith("adapter"))
    path = store.path(adapter.objects[0])
    path.write_bytes(b"W" + path.read_bytes()[1:])
    back = workspace.root.with_name("back")
    with pytest.raises(SolonError, match=r"damaged, of .*adapter"):
        restore(store, made, back, silent)
    assert not back.exists()
    assert list(back.parent.glob(".back*")) == []


def test_a_damaged_artifact_is_said_and_the_good_one_of_before_stays(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    adapter = artifact_path(workspace, CHECKPOINT) / "adapter"
    adapter.write_bytes(adapter.read_bytes().upper())
    other = Store(tmp_path / "other").create()
    assert CHECKPOINT in make(workspace, other).left_out[1]
    adapter.write_bytes(adapter.read_bytes().lower())
    make(workspace, store)
    adapter.write_bytes(adapter.read_bytes().upper())
    made = make(workspace, store)
    assert made.left_out == (A_LINK,)
    back = restore(store, made, tmp_path / "back", silent)
    assert is_whole(artifact_path(back, CHECKPOINT))


def test_what_is_behind_a_link_is_said_to_be_left_out(workspace: Workspace, store: Store) -> None:
    elsewhere = workspace.root.with_name("large-disk")
    elsewhere.mkdir()
    (elsewhere / "weights").write_bytes(b"weights")
    workspace.models.rmdir()
    workspace.models.symlink_to(elsewhere)
    made = make(workspace, store)
    assert made.left_out == ("models: a link", A_LINK)
    assert not [entry.file for entry in made.files if entry.file.startswith("models")]


@pytest.mark.parametrize(
    "file", [f"artifacts/checkpoints/{CHECKPOINT}/adapter", "recipes/mine.yaml"]
)
def test_an_object_that_was_cut_is_written_anew(
    workspace: Workspace, store: Store, tmp_path: Path, file: str
) -> None:
    (entry,) = (entry for entry in make(workspace, store).files if entry.file == file)
    os.truncate(store.path(entry.objects[0]), 1)
    back = restore(store, make(workspace, store), tmp_path / "back", silent)
    assert (back.root / file).read_bytes() == (workspace.root / file).read_bytes()


def test_it_is_of_one_moment_while_others_write(workspace: Workspace, store: Store) -> None:
    over = threading.Event()

    def write() -> None:
        for number in range(10_000):
            if over.is_set():
                return
            with Ledger(workspace.ledger).transaction() as con:
                insert(con, "prompts", [prompt(f"a{number}"), prompt(f"b{number}")])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        made = [make(workspace, store) for _ in range(3)]
    finally:
        over.set()
        thread.join()
    for number, each in enumerate(made):
        back = restore(store, each, workspace.root.with_name(f"back{number}"), silent)
        (found,) = Ledger(back.ledger).query("SELECT count(*) AS n FROM prompts")
        assert found["n"] % 2 == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from storage.backup import back_up
from storage.object_store import Store
from storage.workspace import Workspace
def killed(count):
    killed.seen += count
    if killed.seen > int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
killed.seen = 0
back_up(Workspace(Path(sys.argv[1])), Store(Path(sys.argv[2])).create(), killed)
"""


@pytest.mark.parametrize("after", [0, 300_000], ids=["at once", "within the ledger"])
def test_a_backup_that_was_killed_is_none(workspace: Workspace, store: Store, after: int) -> None:
    first = make(workspace, store)
    with Ledger(workspace.ledger).transaction() as con:
        insert(con, "prompts", [prompt(f"p{number}") for number in range(5000)])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(workspace.root), str(store.root), str(after)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL
    assert store.backups() == [first]
    restore(store, first, workspace.root.with_name("back"), silent)
    make(workspace, store)
    assert list(store.objects.glob(".*")) == []


@pytest.mark.parametrize("file", ["../out", "/out", "a/../../out", "prefect/profiles.toml", ""])
def test_a_list_that_leads_elsewhere_is_refused(
    workspace: Workspace, store: Store, file: str
) -> None:
    make(workspace, store)
    (path,) = store.lists.iterdir()
    found = json.loads(path.read_text())
    found["files"][0]["file"] = file
    path.write_text(json.dumps(found))
    with pytest.raises(SolonError, match="no list of a backup"):
        store.backups()
