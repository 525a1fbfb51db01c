"""A kill in the middle of a checkpoint: half of its writes, in any order, and the ledger opens.

The writes are those of DuckDB itself, taken from what a checkpoint changed of the file, page by
page: Linux writes a page whole or not at all when it ends the write of a killed process.
"""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import storage.ledger
from storage.damage import LedgerDamaged
from storage.errors import InputError, LedgerBusy, SolonError
from storage.journal import HEADERS, journal_of, journalled
from storage.ledger import Ledger, insert, quoted
from storage.readable import ledger_at

PAGE = 4096
ROWS = 700


def add(ledger: Ledger, count: int = ROWS) -> None:
    first = len(ledger.query("SELECT 1 FROM few_shots"))
    texts = {n: f'"{str(n * 7919**9) * 9}"' for n in range(first, first + count)}
    rows = [{"few_shot_id": f"few_{n}", "messages": text} for n, text in texts.items()]
    with ledger.transaction() as con:
        insert(con, "few_shots", rows)


def is_whole(ledger: Ledger) -> int:
    """How many rows there are: each of them once, found by its key too."""
    counts = "SELECT count(*) AS all, count(DISTINCT few_shot_id) AS ids FROM few_shots"
    found = ledger.query(counts)[0]
    with ledger.transaction() as con:
        assert con.execute("INSERT OR IGNORE INTO few_shots SELECT * FROM few_shots").fetchall()
    assert ledger.query(counts)[0] == found
    assert found["all"] == found["ids"]
    return int(found["all"])


@dataclass
class Moments:
    """A workspace as the checkpoint of its second commit begins, and as it ends."""

    begun: Path
    ended: Path

    def killed(self, home: Path, pages: set[int]) -> Ledger:
        """A workspace in which those pages of the checkpoint were written, and no header."""
        shutil.copytree(self.begun, home)
        ended = (self.ended / "ledger.duckdb").read_bytes()
        with (home / "ledger.duckdb").open("r+b") as file:
            for page in pages:
                os.pwrite(file.fileno(), ended[page * PAGE : (page + 1) * PAGE], page * PAGE)
        return Ledger(home / "ledger.duckdb")

    @property
    def changed(self) -> list[int]:
        """The pages that the checkpoint wrote of blocks the file had before."""
        before, after = ((each / "ledger.duckdb").read_bytes() for each in (self.begun, self.ended))
        pages = range(HEADERS // PAGE, len(before) // PAGE)
        return [n for n in pages if before[n * PAGE :][:PAGE] != after[n * PAGE :][:PAGE]]


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Moments:
    top = tmp_path_factory.mktemp("moments")
    ledger = Ledger(top / "home" / "ledger.duckdb")
    add(ledger)

    @contextmanager
    def seen(con: Any, path: Path) -> Iterator[None]:
        with journalled(con, path):
            if path.with_name(f"{path.name}.wal").exists():
                shutil.copytree(path.parent, top / "begun")
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage.ledger, "journalled", seen)
        add(ledger)
    return Moments(top / "begun", ledger.path.parent)


def test_half_a_checkpoint_is_rolled_back(moments: Moments, tmp_path: Path) -> None:
    """Every second page, the first ones, some: what was committed is there, each row once."""
    draw, pages = random.Random(11), moments.changed
    assert len(pages) > 4
    chosen = [set(pages[::2]), set(pages[: len(pages) // 2]), set(pages), set()]
    chosen += [{page for page in pages if draw.random() < 0.5} for _ in range(4)]
    for number, torn in enumerate(chosen):
        ledger = moments.killed(tmp_path / str(number), torn)
        assert is_whole(ledger) == 2 * ROWS
        assert not journal_of(ledger.path).exists()
        add(ledger)
        assert is_whole(ledger) == 3 * ROWS


def test_without_its_journal_it_could_not_be_opened(moments: Moments, tmp_path: Path) -> None:
    """What the journal is for: if this fails, DuckDB needs none any more."""
    ledger = moments.killed(tmp_path / "home", set(moments.changed[::2]))
    journal_of(ledger.path).unlink()
    with pytest.raises(LedgerDamaged, match="checksum"):
        is_whole(ledger)


def test_a_checkpoint_that_got_through_stays(moments: Moments, tmp_path: Path) -> None:
    """The kill came after the header: the journal is of the file before, and is let go."""
    home = Path(shutil.copytree(moments.ended, tmp_path / "home"))
    shutil.copy(journal_of(moments.begun / "ledger.duckdb"), home)
    ledger = Ledger(home / "ledger.duckdb")
    content = ledger.path.read_bytes()
    assert is_whole(ledger) == 2 * ROWS
    assert ledger.path.read_bytes() == content
    assert not journal_of(ledger.path).exists()


def test_no_other_program_is_written_under(moments: Moments, tmp_path: Path) -> None:
    ledger = moments.killed(tmp_path / "home", set(moments.changed[::2]))
    torn = ledger.path.read_bytes()
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    other = context.Process(target=hold, args=(ledger.path, held, free))
    other.start()
    try:
        assert held.wait(60)
        ledger.wait_s = 0
        with pytest.raises(LedgerBusy, match="another program"):
            is_whole(ledger)
        assert ledger.path.read_bytes() == torn
    finally:
        free.set()
        other.join(60)
    assert is_whole(ledger) == 2 * ROWS


def hold(path: Path, held: Any, free: Any) -> None:
    with path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        held.set()
        free.wait(60)


def test_a_ledger_that_may_only_be_read_is_not_rolled_back(
    moments: Moments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = moments.killed(tmp_path / "home", set(moments.changed[::2]))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="open it once where it may be written to"):
        ledger_at(ledger.path).query("SELECT 1")


@pytest.mark.parametrize(
    ("fault", "raised", "words"),
    [
        (OSError(28, "No space left on device"), SolonError, r"cannot be written \(No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_commit_whose_journal_is_not_written_is_kept(
    moments: Moments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    raised: type[BaseException],
    words: str | None,
) -> None:
    ledger = Ledger(Path(shutil.copytree(moments.ended, tmp_path / "home")) / "ledger.duckdb")
    content = ledger.path.read_bytes()

    def broken(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr("storage.journal.sync", broken)
        with pytest.raises(raised, match=words):
            add(ledger)
        gc.collect()
        assert ledger.path.read_bytes() == content
    assert sorted(p.name for p in ledger.path.parent.iterdir() if "journal" in p.name) == []
    assert is_whole(ledger) == 3 * ROWS


def test_a_big_commit_is_checkpointed_under_the_journal_only(tmp_path: Path) -> None:
    """A commit after 16 MB of log would checkpoint by itself, were DuckDB not told not to."""
    ledger = Ledger(tmp_path / "ledger.duckdb")
    add(ledger, 5)
    with ledger.transaction() as con:
        headers = ledger.path.read_bytes()[:HEADERS]
        texts = "SELECT repeat(md5(i::VARCHAR), 500) AS t FROM range(2000) r(i)"
        con.execute(f"CREATE TABLE big AS {texts}")
        con.commit()
        con.begin()
        con.execute("INSERT INTO big VALUES ('small')")
        con.commit()
        assert ledger.path.read_bytes()[:HEADERS] == headers
        con.begin()


def test_what_is_beside_a_ledger_that_is_gone_is_not_taken_for_a_new_ones(
    moments: Moments, tmp_path: Path
) -> None:
    """Its log and its journal, where somebody took the file away."""
    ledger = moments.killed(tmp_path / "home", set())
    assert ledger.path.with_name("ledger.duckdb.wal").stat().st_size > 0
    ledger.path.unlink()
    assert Ledger(ledger.path).query("SELECT 1") == []
    add(ledger)
    assert is_whole(ledger) == ROWS
    assert [p.name for p in ledger.path.parent.iterdir() if "journal" in p.name] == []


@pytest.mark.parametrize("size", [0, PAGE, 2 * PAGE])
def test_a_ledger_whose_making_was_killed_is_made_anew(tmp_path: Path, size: int) -> None:
    """Half of a header under the name it has until it is whole."""
    ledger = Ledger(tmp_path / "ledger.duckdb")
    (tmp_path / "ledger.duckdb.new").write_bytes(b"\0" * size)
    add(ledger)
    assert is_whole(ledger) == ROWS
    assert not (tmp_path / "ledger.duckdb.new").exists()
    assert quoted(Path("a'b")) == "'a''b'"
