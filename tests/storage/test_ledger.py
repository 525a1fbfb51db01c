from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage.errors import LedgerBusy, SolonError
from storage.ledger import MIGRATIONS, Ledger, insert, now, point

PROMPT = {"messages": "[]", "category": None, "source": "x", "source_line": 1}


def prompt(prompt_id: str) -> dict[str, object]:
    return {"prompt_id": prompt_id, **PROMPT, "created_at": now()}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


def test_every_table_and_column_says_what_it_is(ledger: Ledger) -> None:
    with ledger.transaction():
        pass
    tables = ledger.query("SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal")
    assert {"completions", "decisions", "refs", "exclusions"} <= {t["table_name"] for t in tables}
    assert [
        t["table_name"] for t in tables if not (t["comment"] or "").startswith("One row per")
    ] == []
    columns = ledger.query(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE comment IS NULL AND NOT internal"
        " AND table_name NOT IN ('migrations', 'lineage_edges')"
    )
    assert columns == []


def test_a_row_that_is_there_stays_and_replace_overwrites(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        assert insert(con, "prompts", [prompt("a"), prompt("b")]) == 2
        assert insert(con, "prompts", [prompt("a") | {"source": "y"}, prompt("c")]) == 1
    assert ledger.query("SELECT source FROM prompts WHERE prompt_id = 'a'") == [{"source": "x"}]
    with ledger.transaction() as con:
        insert(con, "prompts", [prompt("a") | {"source": "y"}], replace=True)
    assert ledger.query("SELECT source FROM prompts WHERE prompt_id = 'a'") == [{"source": "y"}]


def test_an_exception_leaves_nothing_behind(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.transaction() as con:
            insert(con, "prompts", [prompt("a")])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert ledger.query("SELECT * FROM prompts") == []


def test_a_query_without_a_ledger_finds_nothing_and_writes_nothing(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none" / "ledger.duckdb").query("SELECT * FROM prompts") == []
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_of_a_newer_solon_is_refused(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        con.execute("INSERT INTO migrations VALUES (9999, 'later', ?)", [now()])
    with pytest.raises(SolonError, match="newer Solon"):
        Ledger(ledger.path).query("SELECT 1")


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = sorted(int(f.name[:4]) for f in MIGRATIONS.iterdir() if f.name.endswith(".sql"))
    assert numbers == list(range(1, len(numbers) + 1))


HOLD = """
import sys, time
from pathlib import Path
from storage.ledger import Ledger
with Ledger(Path(sys.argv[1]), holder="run_test").transaction() as con:
    con.execute("INSERT INTO refs VALUES ('held', 'x', NULL, now())")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_waiter_names_the_holder_and_a_killed_holder_frees_the_lock(ledger: Ledger) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ledger.path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LedgerBusy, match=rf"process {child.pid} \(run_test\)"):
            Ledger(ledger.path, wait_s=0.2).query("SELECT 1")
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    at_once = Ledger(ledger.path, wait_s=0)
    assert at_once.query("SELECT * FROM refs") == []  # the transaction was not committed


READER = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True) as con:
    print(con.execute("SELECT count(*) FROM prompts").fetchall(), flush=True)
    sys.stdin.readline()
"""


def test_whoever_reads_with_another_program_is_waited_for(ledger: Ledger) -> None:
    """DuckDB's own lock, of a program that knows none of ours; it is named when it stays."""
    with ledger.transaction() as con:
        insert(con, "prompts", [prompt("prm_one")])
    command = [sys.executable, "-c", READER, str(ledger.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin
        assert reader.stdout
        assert reader.stdout.readline()
        impatient = Ledger(ledger.path, wait_s=0.2)
        with pytest.raises(LedgerBusy, match=rf"process {reader.pid} \(.*python.*\); wait for it"):
            impatient.query("SELECT 1")
        leave = threading.Timer(0.5, reader.stdin.close)
        leave.start()
        assert ledger.query("SELECT prompt_id FROM prompts") == [{"prompt_id": "prm_one"}]
        leave.join()


def test_a_ref_remembers_where_it_pointed(ledger: Ledger) -> None:
    for target in ("a", "b", "b"):
        point(ledger, "champion", target)
    assert ledger.query("SELECT target_id, previous_id FROM refs") == [
        {"target_id": "b", "previous_id": "a"}
    ]
