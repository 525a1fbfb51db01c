"""A workspace that one may only read answers what is asked of it, and is changed by nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError, LedgerBusy
from storage.ledger import Ledger, point
from storage.readable import Readable, ledger_at

from .world import World

KILLED = """
import os, signal, sys, duckdb
con = duckdb.connect(sys.argv[1])
con.execute("INSERT INTO refs (name, target_id, updated_at) VALUES ('late', 'x', now())")
os.kill(os.getpid(), signal.SIGKILL)
"""
SETTINGS = {"prompts.limit": 12, "pairs.evidence": "presumed"}
ASKED = (
    "plan --recipe smoke --set prompts.limit=12 --until pairs",
    "plan --recipe smoke --set seed=3",
    "why PAIRS",
    "impact smoke/latest/constitution",
    "diff default default",
    "status",
    "ref list",
    "verify",
    "doctor",
    "export PAIRS --format trl --out OUT",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of which the system says that it may only be read: to root it never does."""
    world = World(tmp_path / "home", **SETTINGS)
    world.run(world.inputs)
    point(world.ledger, "smoke/latest/preferences-rows", world.rows.preferences.dataset_id)
    point(world.ledger, "smoke/latest/constitution", world.inputs.constitution_id)
    may = os.access

    def access(path: os.PathLike[str] | str, mode: int) -> bool:
        is_inside = Path(path).is_relative_to(tmp_path / "home")
        return may(path, mode) and not (is_inside and mode & os.W_OK)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def stamps(home: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.stat() for path in home.rglob("*")}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


@pytest.mark.parametrize("command", ASKED)
def test_it_answers(
    home: Path, tmp_path: Path, said: Callable[[str], tuple[int, str]], command: str
) -> None:
    before = stamps(home)
    asked = command.replace("PAIRS", "smoke/latest/preferences-rows")
    code, words = said(asked.replace("OUT", str(tmp_path / "out")))
    assert code in (0, 1), words  # verify names the run that this world never had
    assert "error:" not in words
    assert stamps(home) == before


@pytest.mark.parametrize(
    "command", ["ref set mine smoke/latest/preferences-rows", "run --recipe smoke --set seed=3"]
)
def test_what_would_write_is_refused(
    home: Path, said: Callable[[str], tuple[int, str]], command: str
) -> None:
    before = stamps(home)
    code, words = said(command)
    assert code == 2
    assert words.splitlines()[-1].startswith(f"error: {home}: may only be read; plan, why,")
    assert stamps(home) == before


def test_nobody_writes_while_it_is_read(home: Path) -> None:
    ledger = ledger_at(home / "ledger.duckdb")
    assert isinstance(ledger, Readable)
    ledger.wait_s = 0.1
    with (home / "ledger.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LedgerBusy):
            ledger.query("FROM pairs")
    assert ledger.query("FROM pairs")


def test_what_a_kill_left_in_its_log_is_read_and_stays(home: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(home / "ledger.duckdb")], check=False)
    log = home / "ledger.duckdb.wal"
    before = log.read_bytes()
    ledger = ledger_at(home / "ledger.duckdb")
    assert ledger.query("SELECT target_id FROM refs WHERE name = 'late'") == [{"target_id": "x"}]
    assert ledger.query("FROM pairs")
    assert log.read_bytes() == before


def test_a_lock_that_is_its_owners_alone_is_no_hindrance(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], tuple[int, str]]
) -> None:
    lock, opens = home / "ledger.lock", os.open

    def refused(path: Any, *more: Any, **others: Any) -> int:
        if Path(path) == lock:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opens(path, *more, **others)

    may = os.access
    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != lock and may(path, mode))
    assert ledger_at(home / "ledger.duckdb").query("FROM pairs")
    code, words = said("doctor")
    assert code in (0, 1), words
    assert "error:" not in words


def test_an_older_ledger_is_not_migrated(home: Path) -> None:
    with Ledger(home / "ledger.duckdb").transaction() as con:
        con.execute("DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)")
    with pytest.raises(InputError, match="open it once where it may be written to"):
        ledger_at(home / "ledger.duckdb").query("FROM pairs")
