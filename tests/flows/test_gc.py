"""`solon gc`: what is needed stays as it is; all else goes, whenever it is killed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.explain.overview import size_of
from flows.plan.planner import Planner
from flows.serve.clearing import Cleaner, Clearing
from storage import refs
from storage.errors import InputError, SolonError
from storage.ids import content_id
from storage.ledger import Ledger, insert, now
from storage.lookup import find
from storage.workspace import Workspace

from .conftest import HANG_S, ROOT
from .kept_world import KINDS, Edited, checkpoint_id, content, run_id, some_ids, whys

KEEP = 2
WRITTEN = ("principles", "constitutions", "prompts", "verdicts", "refs", "ref_moves")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Edited:
    return Edited(tmp_path_factory.mktemp("gc") / "home")


@pytest.fixture
def workspace(made: Edited, tmp_path: Path) -> Workspace:
    shutil.copytree(made.workspace.root, tmp_path / "home")
    return Workspace(tmp_path / "home")


def clear(workspace: Workspace, keep_runs: int = KEEP) -> Clearing:
    return Cleaner(workspace, keep_runs, None).clear()


def to_make(made: Edited, workspace: Workspace, number: int) -> dict[str, int]:
    """The rows that run `number` would make, were it run again; `record`: and write down."""
    planner = Planner(made.inputs_of[number], workspace, Ledger(workspace.ledger))
    plan = planner.make("pairs")
    steps = {name: step.to_generate[1] for name, step in plan.steps.items()}
    return {name: count for name, count in steps.items() if count} | (
        {"record": plan.to_record} if plan.to_record else {}
    )


def test_every_why_of_what_is_kept_stays_byte_for_byte(made: Edited, workspace: Workspace) -> None:
    before, held = Ledger(workspace.ledger), content(workspace)
    said = Cleaner(workspace, KEEP, None).look()
    assert content(workspace) == held, "it only said what would go"
    done = clear(workspace)
    assert (said.rows, len(said.files)) == (done.rows, len(done.files))
    assert done.after < done.before
    ledger = Ledger(workspace.ledger)
    left = some_ids(ledger)
    assert whys(ledger, left) == whys(made.ledger, left)
    kept = {checkpoint_id(2), checkpoint_id(3)}
    assert {path.name for path in workspace.artifacts.glob("*/*")} == kept
    assert {path.name for path in workspace.logs.iterdir()} == {run_id(2), run_id(3)}
    assert Cleaner(workspace, KEEP, None).look().is_empty
    with pytest.raises(InputError, match="cleared away by solon gc"):
        find(ledger, "latest/dpo~3")
    assert before.query("FROM cleared_completions"), "there was something to tell a story by"


def test_what_prefect_keeps_of_a_task_goes_with_what_it_made(workspace: Workspace) -> None:
    storage = workspace.prefect / "storage"
    storage.mkdir(parents=True)
    for name in (*(f"sft-{checkpoint_id(number)}" for number in range(4)), "of-somebody-else"):
        (storage / name).write_text("{}", encoding="utf-8")
    clear(workspace)
    kept = {"of-somebody-else", f"sft-{checkpoint_id(2)}", f"sft-{checkpoint_id(3)}"}
    assert {path.name for path in storage.iterdir()} == kept


def test_undo_is_all_hits_where_its_run_is_kept_and_honest_misses_where_not(
    made: Edited, workspace: Workspace
) -> None:
    assert to_make(made, workspace, 0) == {}
    clear(workspace)
    assert [to_make(made, workspace, number) for number in (3, 2)] == [{}, {}]
    assert to_make(made, workspace, 0)["critiques"] > 0


def test_what_people_wrote_stays_with_what_it_is_about(workspace: Workspace) -> None:
    ledger = Ledger(workspace.ledger)
    (pair,) = ledger.query(
        "SELECT p.* FROM pairs p WHERE pair_id IN (SELECT pair_id FROM revisions WHERE run_id = ?)"
        " ORDER BY pair_id LIMIT 1",
        [run_id(1)],
    )
    verdict: dict[str, Any] = {
        "verdict_id": content_id("verdict", 1),
        "subject_id": content_id("subject", 1),
    }
    verdict |= {"prompt_id": pair["prompt_id"], "first": pair["rejected"]}
    verdict |= {"second": pair["chosen"], "principle_ids": ["p"], "answer": "second"}
    verdict |= {"author": "Ann", "note": "", "is_undone": False, "created_at": now()}
    with ledger.transaction() as con:
        insert(con, "verdicts", [verdict])
    before = {table: ledger.query(f"FROM {table} ORDER BY ALL") for table in WRITTEN}
    told = whys(ledger, [pair["pair_id"]])
    clear(workspace, keep_runs=1)
    assert {table: ledger.query(f"FROM {table} ORDER BY ALL") for table in WRITTEN} == before
    assert whys(Ledger(workspace.ledger), [pair["pair_id"]]) == told


def test_what_a_rollback_would_bring_back_stays_after_a_rollback_too(
    workspace: Workspace,
) -> None:
    ledger = Ledger(workspace.ledger)
    for number in (1, 2, 3):
        refs.set_ref(ledger, "champion", checkpoint_id(number), "Ann", is_forced=True)
    refs.rollback(ledger, "champion", "Ann")
    clear(workspace, keep_runs=1)
    was, is_now = refs.rollback(Ledger(workspace.ledger), "champion", "Ann")
    assert (was, is_now) == (checkpoint_id(2), checkpoint_id(1))
    rows = Ledger(workspace.ledger).query("SELECT checkpoint_id AS id FROM checkpoints")
    assert is_now in {row["id"] for row in rows}


def test_the_ledger_stays_its_owners_alone(workspace: Workspace) -> None:
    workspace.ledger.chmod(0o600)
    clear(workspace)
    assert workspace.ledger.stat().st_mode & 0o777 == 0o600


def test_later_runs_stay_and_an_open_one_stops_it(workspace: Workspace) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    assert Cleaner(workspace, 1, since).look().is_empty
    open_: dict[str, Any] = {
        "run_id": run_id(99),
        "recipe": "smoke",
        "settings": "{}",
        "state": "running",
    }
    open_ |= {"host": platform.node(), "pid": os.getpid(), "started_at": now()}
    with Ledger(workspace.ledger).transaction() as con:
        insert(con, "runs", [open_])
    held = content(workspace)
    with pytest.raises(SolonError, match=f"{run_id(99)} is open"):
        clear(workspace)
    assert content(workspace) == held


def test_a_run_that_begins_after_the_rows_went_keeps_its_files(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.serve import clearing

    def begin(*_: object) -> frozenset[Path]:
        row: dict[str, Any] = {
            "run_id": run_id(99),
            "recipe": "other",
            "settings": "{}",
            "state": "running",
        }
        row |= {"host": platform.node(), "pid": os.getpid(), "started_at": now()}
        with Ledger(workspace.ledger).transaction() as con:
            insert(con, "runs", [row])
        return frozenset()

    monkeypatch.setattr(clearing, "models_in_use", begin)
    done = clear(workspace)
    assert done.files == []
    assert "left for the next" in done.notes[0]
    assert len(list(workspace.artifacts.glob("*/*"))) == 4


# Killed when this function is called, or after it has returned.
POINTS = {
    "rows are deleted, not committed": "storage.clearing._unnamed",
    "rows are committed": "flows.serve.clearing.models_in_use",
    "some files are moved": "flows.serve.leftovers.Path.rename",
    "files are moved": "flows.serve.leftovers.shutil.rmtree",
    "the ledger is copied": "storage.ledger_copy.sync",
}
KILLED = """
import os, signal, sys
from importlib import import_module
from pathlib import Path
from flows.serve.clearing import Cleaner
from storage.workspace import Workspace
name, _, attribute = sys.argv[1].rpartition(".")
try:
    owner = import_module(name)
except ImportError:
    owner = getattr(import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
def killed(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, attribute, killed)
Cleaner(Workspace(Path(sys.argv[2])), 2, None).clear()
"""


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_killed_at_any_point_the_next_one_ends_it(
    workspace: Workspace, tmp_path: Path, point: str
) -> None:
    shutil.copytree(workspace.root, tmp_path / "other")
    undisturbed = Workspace(tmp_path / "other")
    clear(undisturbed)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point, str(workspace.root)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=HANG_S,
    )
    assert done.returncode == -9
    known = Ledger(workspace.ledger).query("SELECT path FROM checkpoints")
    assert [row for row in known if not (workspace.root / row["path"]).is_dir()] == []
    clear(workspace)
    assert content(workspace) == content(undisturbed)


def test_ten_edits(tmp_path: Path) -> None:
    """The last two runs stay, with every `why` of theirs; the undo of the last edit is all hits,
    that of an earlier one honest misses.
    """
    made = Edited(tmp_path / "made", edits=10)
    shutil.copytree(made.workspace.root, tmp_path / "home")
    workspace = Workspace(tmp_path / "home")
    before = sizes(workspace)
    done, after = clear(workspace), sizes(workspace)
    assert done.before - done.after == sum(before.values()) - sum(after.values()) > 0
    for folder in ("reports", "logs"):
        assert after[folder] * 11 == before[folder] * KEEP, "of eleven runs two"
    assert after["artifacts"] < before["artifacts"] / 5
    kept, all_ids = every_id(Ledger(workspace.ledger)), every_id(made.ledger)
    assert set(kept) < set(all_ids)
    assert whys(Ledger(workspace.ledger), kept) == whys(made.ledger, kept)
    assert [to_make(made, workspace, number) for number in (10, 9)] == [{}, {}]
    for number in (0, 5, 8):
        assert to_make(made, made.workspace, number) == {}
        assert to_make(made, workspace, number)["critiques"] > 0
    print(f"{len(all_ids)} ids before, {len(kept)} after; bytes {before} before, {after} after")


def every_id(ledger: Ledger) -> list[str]:
    """Of the rows that `why` tells of."""
    parts = (f"SELECT {kind}_id AS id FROM {kind}s" for kind in KINDS)
    return sorted(row["id"] for row in ledger.query(" UNION ".join(parts)))


def sizes(workspace: Workspace) -> dict[str, int]:
    """Bytes of each part of a workspace."""
    return {path.name: size_of(path) for path in sorted(workspace.root.iterdir())}
