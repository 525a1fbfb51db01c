"""A workspace on a network file system is one machine's at a time; any other is left alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from flows.serve.doctor import examine
from storage import lease
from storage.errors import LedgerBusy
from storage.ledger import Ledger
from storage.ledger_copy import copy_to
from storage.readable import ledger_at
from storage.workspace import Workspace

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
41 22 0:38 / /home/a\\040b rw,nosuid shared:5 master:2 - nfs4 server:/export rw,vers=4.2
42 22 0:39 / /tmp rw - tmpfs none rw
"""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the folder were mounted from a server."""
    monkeypatch.setattr(lease, "network_type", lambda _: "nfs4")
    monkeypatch.setattr("flows.serve.doctor.network_type", lambda _: "nfs4")
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)
    monkeypatch.setattr(lease, "POLL_S", 0.02)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger(tmp_path / "home" / "ledger.duckdb", wait_s=0.1)
    with found.transaction():
        pass
    return found


def elsewhere(ledger: Ledger, seconds_ago: float) -> Path:
    """Another machine's name, renewed so long ago."""
    path = ledger.path.with_suffix(".host")
    path.write_text(json.dumps({"machine": "other", "host": "node7"}))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def test_the_type_of_a_mount_is_read_by_its_device() -> None:
    lines = MOUNTS.splitlines()
    assert [lease.type_of(d, lines) for d in ("254:0", "0:38", "0:39", "0:3", "8:1")] == [
        *("ext4", "nfs4", "tmpfs"),
        *("", ""),
    ]


def test_a_disk_of_ones_own_needs_no_name(ledger: Ledger) -> None:
    assert lease.network_type(ledger.path.parent) == ""
    assert not ledger.path.with_suffix(".host").exists()
    assert lease.network_type(ledger.path / "gone") == ""


@pytest.mark.usefixtures("shared")
def test_another_machine_is_waited_for_and_named(ledger: Ledger) -> None:
    elsewhere(ledger, 5)
    content, modified = ledger.path.read_bytes(), ledger.path.stat().st_mtime_ns
    with pytest.raises(LedgerBusy, match=r"used by node7 within .* on nfs4 locks may not keep"):
        ledger.query("SELECT 1")
    assert (ledger.path.read_bytes(), ledger.path.stat().st_mtime_ns) == (content, modified)
    assert sorted(p.name for p in ledger.path.parent.iterdir()) == [
        *("ledger.duckdb", "ledger.host", "ledger.lock"),
    ]


@pytest.mark.usefixtures("shared")
def test_a_name_that_nobody_renews_is_nobodys(ledger: Ledger) -> None:
    path = elsewhere(ledger, lease.LEASE_S + 5)
    assert ledger.query("SELECT 1 AS n") == [{"n": 1}]
    assert json.loads(path.read_text())["machine"] == lease.machine()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"host": "x"}', "\0\0"])
@pytest.mark.usefixtures("shared")
def test_a_torn_name_is_nobodys(ledger: Ledger, note: str) -> None:
    ledger.path.with_suffix(".host").write_text(note)
    assert ledger.query("SELECT 1 AS n") == [{"n": 1}]


@pytest.mark.usefixtures("shared")
def test_ones_own_is_renewed_now_and_then_and_told(ledger: Ledger) -> None:
    ledger.query("SELECT 1")
    path = ledger.path.with_suffix(".host")
    first = path.stat().st_mtime_ns
    ledger.query("SELECT 1")
    assert path.stat().st_mtime_ns == first
    os.utime(path, (time.time() - 60, time.time() - 60))
    ledger.query("SELECT 1")
    assert time.time() - path.stat().st_mtime < 30
    found = examine(Workspace(ledger.path.parent))
    assert found.findings == []
    assert any("is on nfs4; use it on one at a time" in line for line in found.skipped)


@pytest.mark.usefixtures("shared")
def test_who_may_only_read_writes_no_name(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    path = elsewhere(ledger, 0)
    before = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert ledger_at(ledger.path).query("SELECT 1 AS n") == [{"n": 1}]
    assert path.read_bytes() == before


@pytest.mark.usefixtures("shared")
def test_of_two_claims_at_one_moment_one_is_seen(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other machine's name lands on ours between our claim and our second look."""
    ledger.path.with_suffix(".host").unlink(missing_ok=True)
    monkeypatch.setattr(lease.time, "sleep", lambda _: elsewhere(ledger, 0))
    with pytest.raises(LedgerBusy, match="used by node7"):
        ledger.query("SELECT 1")


@pytest.mark.usefixtures("shared")
def test_a_long_copy_stays_this_machines(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    name = ledger.path.with_suffix(".host")

    def slowly(source: Path, to: Path) -> None:
        os.utime(name, (time.time() - 1000, time.time() - 1000))
        deadline = time.monotonic() + 60
        while time.time() - name.stat().st_mtime > 100:
            assert time.monotonic() < deadline, "nobody renews it"
        to.write_bytes(source.read_bytes())

    monkeypatch.setattr("storage.ledger_copy.shutil.copyfile", slowly)
    copy_to(ledger, tmp_path / "copy.duckdb")
    assert (tmp_path / "copy.duckdb").read_bytes() == ledger.path.read_bytes()


@pytest.mark.usefixtures("shared")
def test_ones_own_name_that_lapsed_is_claimed_anew(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may claim it at the same moment: a claim has its time to settle."""
    ledger.query("SELECT 1")
    path = ledger.path.with_suffix(".host")
    then = time.time() - lease.LEASE_S - 1
    os.utime(path, (then, then))
    waits: list[float] = []
    monkeypatch.setattr("storage.lease.time.sleep", waits.append)
    ledger.query("SELECT 1")
    assert waits == [lease.SETTLE_S]
    assert json.loads(path.read_text())["machine"] == lease.machine()
