"""Workspaces of earlier commits (`tests/storage/old/`, as SQL text) under the code of now."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.plan.plan import Plan
from flows.plan.planner import make_plan
from storage.ledger import CONFIG, MIGRATIONS, STORAGE_VERSION, Ledger, now
from storage.workspace import Workspace
from tasks.integrity.verify import verify

from .conftest import HANG_S, ROOT
from .evaluated import Silent
from .kept_world import KINDS, whys

OLD = sorted((ROOT / "tests" / "storage" / "old").glob("*.sql"))
STAGES = "sft", "reward", "dpo"
WORDS = OLD[0].with_name("default.yaml")  # of the constitution that all were made with
MADE_WITH = {"prompts.limit": 16, "constitution": str(WORDS)}
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace with such a ledger, as no code of now has touched it."""
    workspace = Workspace(tmp_path / request.param.stem).create()
    con = duckdb.connect(config=CONFIG)
    con.execute(f"ATTACH '{workspace.ledger}' AS ledger (STORAGE_VERSION '{STORAGE_VERSION}')")
    con.execute("USE ledger; SET TimeZone = 'UTC'")
    con.execute(request.param.read_text(encoding="utf-8"))
    con.close()
    monkeypatch.setenv("SOLON_HOME", str(workspace.root))
    return workspace


def rows(path: Path, columns: dict[str, list[str]] | None = None) -> Rows:
    """Every row of every table, of `columns` only where they are given, read without our code."""
    con = duckdb.connect(str(path), read_only=True)
    con.execute("SET TimeZone = 'UTC'")
    found: Rows = {}
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        names = [column[0] for column in con.execute(f"DESCRIBE {table}").fetchall()]
        if columns is not None:
            names = [name for name in names if name in columns.get(table, ())]
        if names and table != "migrations":
            read = con.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL").fetchall()
            found[table] = [dict(zip(names, row, strict=True)) for row in read]
    con.close()
    return found


def migrations(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.query("FROM migrations ORDER BY number")


def of_smoke(found: Rows) -> Rows:
    """Refs belong to a recipe since then; every run of these ledgers is one of smoke."""
    for table in {"refs", "ref_moves"} & found.keys():
        for row in found[table]:
            row["name"] = f"smoke/{row['name'].removeprefix('smoke/')}"
        found[table].sort(key=str)
    return found


def columns_of(found: Rows) -> dict[str, list[str]]:
    return {table: list(kept[0]) for table, kept in found.items() if kept}


def test_it_is_migrated_once_and_keeps_every_row_and_id(old: Workspace) -> None:
    before, ledger = of_smoke(rows(old.ledger)), Ledger(old.ledger)
    done = migrations(ledger)
    assert len(done) == len([f for f in MIGRATIONS.iterdir() if f.name.endswith(".sql")])
    filled = {table: kept for table, kept in before.items() if kept}
    assert of_smoke(rows(old.ledger, columns_of(before))) == filled
    assert migrations(Ledger(old.ledger)) == done
    looked = verify(old, ledger, None, Silent())
    gone = {row["checkpoint_id"] for row in before["checkpoints"]}  # the text has no files
    assert {fault.subject for fault in looked.faults} == gone
    ids = sorted(
        row["id"]
        for kind in KINDS
        for row in ledger.query(f"SELECT DISTINCT {kind}_id AS id FROM {kind}s")
    )
    assert len(whys(ledger, ids)) == len(ids) > 50


def test_a_plan_says_what_is_stale(old: Workspace) -> None:
    prompts = WORDS.with_name(f"{old.root.name}.jsonl")  # where ours were others then
    asked = {"prompts.path": str(prompts)} if prompts.exists() else {}
    plan: Plan = make_plan("smoke", MADE_WITH | asked, "dpo")[0]
    assert plan.steps["drafts"].reused > 0, "answers are those of their requests, whatever code"
    assert {plan.steps[name].to_train for name in STAGES} == {(1, 1)}
    why = {(change["step"], change["component"]) for change in plan.why}
    assert {(name, "code") for name in STAGES} <= why


KILLED = """
import os, signal, sys
from pathlib import Path
from storage import ledger
made = iter(range(int(sys.argv[2])))
clock = ledger.now
def now():
    if next(made, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return clock()
ledger.now = now
ledger.Ledger(Path(sys.argv[1])).query("FROM runs")
"""


@pytest.mark.parametrize("after", [0, 4, 9])
def test_a_killed_migration_is_ended_by_the_next_use(old: Workspace, after: int) -> None:
    before = of_smoke(rows(old.ledger))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(old.ledger), str(after)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=HANG_S,
    )
    assert done.returncode == -9
    numbers = [row["number"] for row in migrations(Ledger(old.ledger))]
    assert numbers == list(range(1, max(numbers) + 1))
    filled = {table: kept for table, kept in before.items() if kept}
    assert of_smoke(rows(old.ledger, columns_of(before))) == filled


@pytest.mark.parametrize("command", ["plan", "run", "status", "why latest/sft", "verify", "doctor"])
def test_a_newer_ledger_is_one_line_and_untouched(
    old: Workspace, said: Callable[[str], tuple[int, str]], command: str
) -> None:
    with Ledger(old.ledger).transaction() as con:
        con.execute("INSERT INTO migrations VALUES (9999, 'later', ?)", [now()])
    before = rows(old.ledger)
    code, words = said(command)
    assert code in (1, 2)
    (line,) = words.strip().splitlines()
    assert line.startswith("error: the ledger was written by a newer Solon")
    assert rows(old.ledger) == before


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_the_texts_are_small_and_name_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= 100 * 1024
    assert "/home/" not in text
    assert "/tmp/" not in text
