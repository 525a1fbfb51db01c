"""What the machine runs out of: a disk, memory. One line, and nothing is lost."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.ids import content_id
from storage.ledger import Ledger, point
from storage.refs import find

from .conftest import HANG_S, Solon

CLI = "-m flows.commands.cli"
SMALL = "mount -t tmpfs -o size=4m none {0} && cp {1} {0}/ledger.duckdb"
FULL = "cat /dev/zero > {0}/fill 2> {0}.said; SOLON_HOME={0} {2} {3} ref set mine {4}"
ROOM = "rm {0}/fill; SOLON_HOME={0} {2} {3} ref list --json"
UNSTARTED = "cat /dev/zero > {0}/fill 2> {0}.said; SOLON_HOME={0} {2} {3} {0}"
START = """
import os, subprocess, sys
from pathlib import Path
from flows.commands.ran_out import ran_out
from flows.serve import server

os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
try:
    server._wait_until_healthy(subprocess.Popen(["false"]), 9, Path(sys.argv[1]) / "server.log")
except Exception as error:
    print(ran_out(error))
"""
Done = subprocess.CompletedProcess[str]


def on_a_small_disk(solon: Solon, tmp_path: Path, steps: str, *more: str) -> Done:
    """Shell steps on a disk of the test's own, where users may have one, with a small ledger: {0}
    is the disk, {1} the ledger's file, {2} Python, {3} and on are given.
    """
    unshare = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount", "sh", "-c"]
    (tmp_path / "disk").mkdir()
    parts = [tmp_path / "disk", tmp_path / "ledger.duckdb", f"{sys.executable} -P", *more]
    tried = subprocess.run([*unshare, SMALL.format(*parts)], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no disk of one's own here: {tried.stderr.strip()}")
    return subprocess.run(
        [*unshare, f"{SMALL} && ( {steps} )".format(*parts)],
        env=solon.env,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


@pytest.fixture
def target(tmp_path: Path) -> str:
    """What a ref of a small ledger is at."""
    found = content_id("dataset", 1)
    point(Ledger(tmp_path / "ledger.duckdb"), "latest/x", found)
    return found


def test_a_server_that_finds_no_room_says_so(solon: Solon, tmp_path: Path, target: str) -> None:
    (tmp_path / "start.py").write_text(START, encoding="utf-8")
    done = on_a_small_disk(solon, tmp_path, UNSTARTED, str(tmp_path / "start.py"))
    assert "the disk is full; make room" in done.stdout, done.stderr
    assert str(tmp_path / "disk") in done.stdout


def test_a_full_disk_is_one_line_and_no_damage(solon: Solon, tmp_path: Path, target: str) -> None:
    done = on_a_small_disk(solon, tmp_path, f"{FULL}; echo $?; {ROOM}", CLI, target)
    disk = tmp_path / "disk"
    assert done.stderr.startswith(f"error: {disk}")
    assert done.stderr.count("\n") == 1
    assert "the disk is full" in done.stderr
    assert "damaged" not in done.stderr
    assert done.stdout.startswith("1\n")
    assert target in done.stdout, "what was there is there"
    assert find(Ledger(tmp_path / "ledger.duckdb"), "latest/x") == [target]


def test_too_little_memory_is_one_line(solon: Solon) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))

    process = solon.start("run", "--recipe", "smoke", "--until", "drafts", preexec_fn=limit)
    _, said = process.communicate(timeout=HANG_S)
    assert process.returncode in (1, 2)
    assert said.splitlines()[-1].startswith("error: ")
    assert "memory" in said.splitlines()[-1]
    assert "Traceback" not in said
