"""A ledger that something else tore is said to be so, in one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.damage import LedgerDamaged
from storage.ledger import Ledger, insert

TABLES = "SELECT table_name AS name FROM duckdb_tables() WHERE database_name = 'ledger'"
KILLED = """
import duckdb, os, sys
con = duckdb.connect(":memory:")
con.execute(f"ATTACH '{sys.argv[1]}' AS ledger (STORAGE_VERSION 'v1.5.0')")
con.execute("INSERT INTO ledger.refs SELECT 'x' || i, 'y', NULL, now() FROM range(200) t(i)")
os._exit(9)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with some rows, as it is on the disk."""
    found = Ledger(tmp_path_factory.mktemp("written") / "ledger.duckdb")
    texts = [{"few_shot_id": f"few_{n}", "messages": f'"{n * 7919**9}"'} for n in range(3000)]
    with found.transaction() as con:
        insert(con, "few_shots", texts)
    return found.path


@pytest.fixture
def ledger(written: Path, tmp_path: Path) -> Ledger:
    (tmp_path / "home").mkdir()
    return Ledger(Path(shutil.copy(written, tmp_path / "home")))


def read(ledger: Ledger) -> int:
    return sum(len(ledger.query(f"SELECT * FROM {row['name']}")) for row in ledger.query(TABLES))


@pytest.mark.parametrize("part", [0.5, 0.01, 0.0])
def test_a_ledger_that_was_cut_is_said_to_be_damaged(ledger: Ledger, part: float) -> None:
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(LedgerDamaged, match="restore it from a backup"):
        read(ledger)


def test_a_flipped_bit_changes_no_row_unseen(ledger: Ledger) -> None:
    """DuckDB's pages have checksums: a flip is seen, or lies where no row is."""
    content, rows = ledger.path.read_bytes(), read(ledger)
    seen = 0
    for place in range(50, len(content), len(content) // 40):
        changed = bytearray(content)
        changed[place] ^= 1
        ledger.path.write_bytes(changed)
        try:
            assert read(Ledger(ledger.path)) == rows
        except LedgerDamaged:
            seen += 1
    assert seen > 3


@pytest.mark.parametrize("fault", ["flipped", "of another"])
def test_a_log_that_does_not_fit_is_said_to_be_damaged(ledger: Ledger, fault: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(ledger.path)])
    log = ledger.path.with_name(ledger.path.name + ".wal")
    if fault == "flipped":
        content = bytearray(log.read_bytes())
        content[len(content) // 2] ^= 1
        log.write_bytes(content)
    else:
        ledger.path.unlink()
        log.rename(log.with_name("kept"))
        read(Ledger(ledger.path))
        ledger.query("SELECT 1")
        with Ledger(ledger.path).transaction() as con:
            con.execute("INSERT INTO refs VALUES ('a', 'b', NULL, now())")
        log.with_name("kept").rename(log)
    with pytest.raises(LedgerDamaged, match="WAL"):
        read(Ledger(ledger.path))
