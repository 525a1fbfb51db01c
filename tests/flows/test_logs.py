"""The logs of what stays up for months are bounded, while they are written to."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

import flows.serve.deployments  # noqa: F401  # loaded, which takes longer than the process below
from flows.serve import logs, server, serving
from storage.workspace import Workspace

LINES = "import time\nfor n in range(200): print(n, flush=True); time.sleep(0.002)"


def test_a_log_is_begun_anew_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST", 100)
    path = tmp_path / "worker.log"
    with path.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", LINES], stdout=log)
    largest = 0
    while process.poll() is None:
        logs.bound(path)
        largest = max(largest, path.stat().st_size)
    written = path.read_bytes()
    assert b"\0" not in written, "it goes on at the end of what is there"
    assert largest < 600 < len("".join(f"{n}\n" for n in range(200)))
    before = path.with_name("worker.log.1").read_text()
    assert int((before + written.decode()).split()[-1]) > 190, "the newest are kept"
    assert {each.name for each in tmp_path.iterdir()} == {"worker.log", "worker.log.1"}


def test_a_full_disk_costs_the_older_lines_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, to: Path) -> None:
        to.write_bytes(source.read_bytes()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logs, "MOST", 100)
    monkeypatch.setattr(logs.shutil, "copyfile", half)
    path = tmp_path / "server.log"
    path.write_bytes(b"x" * 101)
    logs.bound(path)
    assert {each.name: each.stat().st_size for each in tmp_path.iterdir()} == {"server.log": 0}


def test_those_of_a_server_are_bounded_at_its_start_and_while_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    workspace.prefect.mkdir()
    path = workspace.prefect / "server.log"
    path.write_bytes(b"x" * (logs.MOST + 1))
    server.spawn(workspace, "server", "timeit", "-n1", "-r1", cwd=tmp_path).wait()
    assert path.stat().st_size < 1000
    path.write_bytes(b"x" * (logs.MOST + 1))
    monkeypatch.setattr(serving, "FOLLOW_S", 0.0)
    ends = subprocess.Popen(["sleep", "0.5"])
    with pytest.raises(serving.SolonError, match="the server ended"):
        serving._watch(workspace, {"server": ends})
    assert path.stat().st_size == 0
