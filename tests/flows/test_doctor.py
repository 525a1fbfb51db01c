"""`solon doctor`: what a kill leaves behind is found, named and mended; what is whole stays."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands import cli
from flows.run.killed import end_killed_runs, is_alive
from flows.serve.doctor import examine
from flows.serve.findings import Finding
from storage import artifacts
from storage.artifacts import artifact_path, is_whole, writing
from storage.ids import content_id
from storage.ledger import Ledger, insert, now
from storage.lock import file_lock
from storage.workspace import Workspace
from tasks.machine import machine_name

from .conftest import until
from .prefect_db import seed

KNOWN, UNKNOWN, DONE = (content_id("checkpoint", name) for name in ("known", "unknown", "done"))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return Workspace.open().create()


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def open_run(workspace: Workspace, name: str, **facts: Any) -> str:
    """A run that the ledger has as running; this process is its own unless `facts` say else."""
    row = {
        "run_id": f"run_{name}",
        "recipe": "smoke",
        "settings": "{}",
        "host": platform.node(),
        "pid": os.getpid(),
        "state": "running",
        "started_at": now(),
    }
    with Ledger(workspace.ledger).transaction() as con:
        insert(con, "runs", [row | facts])
    return f"run_{name}"


def states(workspace: Workspace) -> dict[str, str]:
    rows = Ledger(workspace.ledger).query("SELECT run_id, state FROM runs")
    return {row["run_id"]: row["state"] for row in rows}


def found(workspace: Workspace, fix: bool = False) -> list[tuple[str, str, bool]]:
    """All but what is missing to the rows that a test makes."""
    seen = examine(workspace, fix).findings
    return [(f.kind, f.subject, f.mended) for f in seen if f.kind != "row"]


def make_artifact(workspace: Workspace, artifact_id: str, is_known: bool) -> Path:
    with writing(workspace, artifact_id) as out:
        (out / "weights").write_bytes(b"x" * 100)
    columns = ("base_model_id", "dataset_id", "run_id", "stage", "path")
    row = dict.fromkeys(columns, "") | {
        "checkpoint_id": artifact_id,
        "parent_ids": [],
        "parent_roles": [],
        "components": "{}",
        "duration_s": 0.0,
        "created_at": now(),
    }
    if is_known:
        with Ledger(workspace.ledger).transaction() as con:
            insert(con, "checkpoints", [row])
    return artifact_path(workspace, artifact_id)


def doctor(*options: str) -> tuple[int, Any]:
    result = CliRunner().invoke(cli.app, ["doctor", "--json", *options])
    return result.exit_code, json.loads(result.stdout)


def test_a_workspace_that_is_not_there_is_healthy_and_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "none"))
    code, answer = doctor()
    assert (code, answer["findings"], answer["skipped"]) == (0, [], [])
    assert not (tmp_path / "none").exists()


def test_it_says_what_is_computed_in_and_why(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    why = "under ONEDNN_MAX_CPU_ISA=AVX2 the processor has no bfloat16 instructions"
    assert doctor()[1]["compute"] == {"dtype": "float32", "why": why}
    said = CliRunner().invoke(cli.app, ["doctor"]).stdout
    assert f"compute: float32, {why}" in said.replace("\n", " ")
    assert f"machine: {machine_name()}" in said.replace("\n", " ")


def outside_by_manifest(workspace: Workspace, outside: Path) -> Path:
    """A draft whose manifest calls itself by the path of a folder outside."""
    draft = workspace.tmp / "e"
    draft.mkdir()
    (draft / "MANIFEST.json").write_text(json.dumps({"id": str(outside), "files": []}))
    return draft


def outside_by_link(workspace: Workspace, outside: Path) -> Path:
    draft = workspace.tmp / f"{UNKNOWN}-1"
    draft.symlink_to(outside)
    return draft


def outside_among_artifacts(workspace: Workspace, outside: Path) -> Path:
    link = artifact_path(workspace, UNKNOWN)
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    return link


@pytest.mark.parametrize("name", ["tmp", "state", "artifacts", "artifacts/checkpoints"])
def test_a_folder_that_lies_elsewhere_is_left_alone(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    """As on a disk with more room: whose it is besides, nobody here knows."""
    place, outside = workspace.root / name, tmp_path / "outside"
    if place.is_dir():
        place.rmdir()
    outside.mkdir()
    place.symlink_to(outside)
    wanted = {DONE, UNKNOWN, f"{UNKNOWN}-1", "checkpoints"}
    for entry in wanted:
        (outside / entry).mkdir()
    assert found(workspace, fix=True) == []
    assert {path.name for path in outside.iterdir()} == wanted


def test_a_lock_that_is_a_link_is_left_alone(
    workspace: Workspace, tmp_path: Path, dead_pid: int
) -> None:
    (tmp_path / "pidfile").write_text(json.dumps({"pid": dead_pid}))
    (workspace.root / "a.lock").symlink_to(tmp_path / "pidfile")
    assert found(workspace, fix=True) == []
    assert (tmp_path / "pidfile").read_text()


@pytest.mark.parametrize("name", ["notes", f"ckp_{'0' * 31}", "dst_" + "0" * 32])
def test_what_is_no_artifact_of_its_folder_is_left_alone(workspace: Workspace, name: str) -> None:
    other = workspace.artifacts / "checkpoints" / name
    other.mkdir(parents=True)
    assert found(workspace, fix=True) == []
    assert other.is_dir()


@pytest.mark.parametrize("plant", [outside_by_manifest, outside_by_link, outside_among_artifacts])
def test_nothing_outside_the_workspace_is_touched(
    workspace: Workspace, tmp_path: Path, plant: Callable[[Workspace, Path], Path]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    planted = plant(workspace, outside)
    assert [mended for *_, mended in found(workspace, fix=True)] == [True]
    assert not planted.is_symlink()
    assert not planted.exists()
    assert [p.name for p in outside.iterdir()] == ["precious"]
    assert found(workspace) == []


def test_a_draft_is_put_in_no_others_place(workspace: Workspace) -> None:
    """A whole artifact aside replaces a broken one of its own id only."""
    broken = make_artifact(workspace, KNOWN, is_known=True)
    (broken / "weights").unlink()
    whole = make_artifact(workspace, DONE, is_known=True)
    shutil.copytree(whole, workspace.tmp / f"{KNOWN}-1")
    examine(workspace, fix=True)
    assert not is_whole(broken)
    assert list(workspace.tmp.iterdir()) == []


def test_damaged_bytes_are_found(workspace: Workspace) -> None:
    path = make_artifact(workspace, KNOWN, is_known=True)
    (path / "weights").write_bytes(b"x" * 50 + b"y" * 50)
    assert found(workspace, fix=True) == [("artifact", KNOWN, False)]


def test_a_killed_run_is_closed_and_others_stay_open(workspace: Workspace, dead_pid: int) -> None:
    killed = open_run(workspace, "killed", pid=dead_pid)
    reused = open_run(workspace, "reused", started_at=datetime.now(UTC) - timedelta(days=400))
    alive, far = open_run(workspace, "alive"), open_run(workspace, "far", pid=dead_pid, host="b")
    assert found(workspace) == [("run", reused, False), ("run", killed, False)]
    assert set(states(workspace).values()) == {"running"}
    assert found(workspace, fix=True) == [("run", reused, True), ("run", killed, True)]
    expected = dict.fromkeys((killed, reused), "failed") | dict.fromkeys((alive, far), "running")
    assert states(workspace) == expected
    assert found(workspace) == []
    row = Ledger(workspace.ledger).query("SELECT * FROM runs WHERE run_id = ?", [killed])[0]
    assert str(dead_pid) in row["message"]
    assert row["ended_at"]


def test_a_run_under_another_name_is_over_where_this_machine_has_started_since(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's or the machine's own of before. On a network's disk it may run elsewhere."""
    old = open_run(workspace, "old", host="b", started_at=datetime.now(UTC) - timedelta(days=400))
    new = open_run(workspace, "new", host="b")
    monkeypatch.setattr("flows.run.killed.network_type", lambda _: "nfs4")
    assert found(workspace, fix=True) == []
    monkeypatch.undo()
    assert found(workspace, fix=True) == [("run", old, True)]
    assert states(workspace) == {old: "failed", new: "running"}
    assert f"{new}: it runs on b; solon gc waits for it" in examine(workspace).skipped


def test_the_next_run_closes_a_killed_one(workspace: Workspace, dead_pid: int) -> None:
    killed, alive = open_run(workspace, "killed", pid=dead_pid), open_run(workspace, "alive")
    end_killed_runs(Ledger(workspace.ledger))
    assert states(workspace) == {killed: "failed", alive: "running"}


def test_a_zombie_process_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.1)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process.pid)
    process.wait()


def test_exit_codes_and_the_contract_of_json(workspace: Workspace, dead_pid: int) -> None:
    open_run(workspace, "killed", pid=dead_pid)
    code, told = doctor()
    assert code == 1
    assert set(told["findings"][0]) == {"kind", "subject", "detail", "action", "mended"}
    assert "no Prefect server is up" in told["skipped"][0]
    code, told = doctor("--fix")
    assert (code, told["findings"][0]["mended"]) == (0, True)
    assert doctor()[0] == 0
    text = CliRunner().invoke(cli.app, ["doctor"]).stdout.splitlines()
    assert text[-1] == "nothing wrong in what was looked at"


def test_it_imports_no_prefect_where_no_server_is_up(workspace: Workspace) -> None:
    code = (
        "import sys; from flows.serve.doctor import examine\n"
        "from storage.workspace import Workspace\n"
        "examine(Workspace.open()); print(sorted({'prefect', 'torch'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    seed(workspace.root)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr


def test_torn_artifacts_go_and_whole_ones_stay(workspace: Workspace) -> None:
    whole = make_artifact(workspace, DONE, is_known=True)
    orphan = make_artifact(workspace, content_id("checkpoint", "orphan"), is_known=False)
    torn = make_artifact(workspace, UNKNOWN, is_known=False)
    (torn / artifacts.MANIFEST).unlink()
    cut = make_artifact(workspace, KNOWN, is_known=True)
    (cut / "weights").write_bytes(b"x")
    expected = {("artifact", UNKNOWN, True), ("artifact", KNOWN, False)}
    assert set(found(workspace, fix=True)) == expected
    assert not torn.exists()
    assert cut.exists()
    assert is_whole(whole)
    assert is_whole(orphan)  # a run takes it over
    shutil.rmtree(cut)
    assert found(workspace, fix=True) == [("artifact", KNOWN, False)]
    assert doctor("--fix")[0] == 1
    rows = Ledger(workspace.ledger).query("SELECT 1 FROM checkpoints")
    assert len(rows) == 2


def test_left_overs_go_unless_a_run_is_open(workspace: Workspace, dead_pid: int) -> None:
    make_artifact(workspace, DONE, is_known=True)
    (workspace.tmp / f"{KNOWN}-1").mkdir()
    for name in (DONE, KNOWN, "amend"):
        (workspace.state / name).mkdir()
    open_run(workspace, "alive")
    seen = examine(workspace, fix=True)
    assert [f.kind for f in seen.findings if f.kind != "row"] == ["state"]
    assert any("a run is open" in text for text in seen.skipped)
    with Ledger(workspace.ledger).transaction() as con:
        con.execute("UPDATE runs SET pid = ?", [dead_pid])
    assert [kind for kind, *_ in found(workspace, fix=True)] == ["run", "tmp"]
    assert list(workspace.tmp.iterdir()) == []
    assert {path.name for path in workspace.state.iterdir()} == {KNOWN, "amend"}


def test_a_kill_between_two_renames_loses_no_artifact(workspace: Workspace) -> None:
    path = make_artifact(workspace, KNOWN, is_known=True)
    path.rename(workspace.tmp / f"{KNOWN}-1-old")
    (kind, subject, mended) = found(workspace, fix=True)[-1]
    assert (kind, subject, mended) == ("tmp", f"{KNOWN}-1-old", True)
    assert is_whole(path)
    assert found(workspace) == []


def test_a_lock_whose_holder_was_killed(workspace: Workspace) -> None:
    code = (
        "import os, sys; from pathlib import Path; from storage.lock import file_lock\n"
        "with file_lock(Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)"
    )
    lock = workspace.root / "device.lock"
    subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    assert "pid" in lock.read_text()
    assert found(workspace) == [("lock", "device.lock", False)]
    assert found(workspace, fix=True) == [("lock", "device.lock", True)]
    assert lock.read_bytes() == b""
    with file_lock(lock):
        assert found(workspace, fix=True) == []
        assert "pid" in lock.read_text()
    assert lock.read_bytes() == b""  # an orderly end leaves no note


@pytest.fixture
def pretender(workspace: Workspace) -> Iterator[int]:
    """A process that looks like a worker of the workspace and whose parent has ended."""
    spec = str(workspace.logs / "run_1" / "sft.log.spec.json")
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "tasks.worker", spec]
    code = (
        "import os, subprocess, sys\n"
        "env = os.environ | {'SOLON_PARENT_PID': str(os.getpid())}\n"
        "print(subprocess.Popen(sys.argv[1:], env=env, stdout=2).pid, flush=True)\n"
        "input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdin=-1, stdout=-1, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert found(workspace) == []  # as long as its parent lives
    parent.communicate("\n")
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_an_orphan_is_killed(workspace: Workspace, pretender: int) -> None:
    (workspace.tmp / "model-1").mkdir()
    other = Workspace(workspace.root / "other").create()
    assert found(other, fix=True) == []
    assert found(workspace)[0] == ("orphan", f"process {pretender}", False)
    assert is_alive(pretender)
    assert [kind for kind, *_ in found(workspace, fix=True)] == ["orphan", "tmp"]
    until(lambda: not is_alive(pretender), "its end")


SERVED = """
import json, os, sys
from flows.serve import server
from flows.serve.doctor import examine
from storage.lock import file_lock
from storage.workspace import Workspace

workspace, pid = Workspace.open().create(), int(sys.argv[1])
with server.running(workspace):
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate as Update
    from prefect.states import Cancelling, Running
    from tests.flows.test_doctor import open_run

    @flow
    def align():
        pass

    if sys.argv[2] == "serve.json":
        port = os.environ.pop("PREFECT_API_URL").split(":")[2].split("/")[0]
        served = {"pid": os.getpid(), "port": int(port)}
        (workspace.prefect / "serve.json").write_text(json.dumps(served))
    with get_client(sync_client=True) as client:
        states = {"killed": Running(), "cancelled": Cancelling(), "alive": Running()}
        ids = {n: str(client.create_flow_run(align, state=s).id) for n, s in states.items()}
        for name, flow_run_id in ids.items():
            facts = {} if name == "alive" else {"pid": pid, "state": "failed"}
            open_run(workspace, name, flow_run_id=flow_run_id, **facts)
        client.update_global_concurrency_limit("gpu", Update(active_slots=1))
        with file_lock(workspace.root / "device.lock"):
            held = [f.kind for f in examine(workspace).findings if f.kind != "row"]
        looks = [
            [(f.kind, f.mended) for f in examine(workspace, fix).findings if f.kind != "row"]
            for fix in (False, True, False)
        ]
        said = {n: client.read_flow_run(i).state.type.value for n, i in ids.items()}
        slots = client.read_global_concurrency_limit_by_name("gpu").active_slots
    print(json.dumps({"held": held, "looks": looks, "states": said, "slots": slots}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("named_by", ["PREFECT_API_URL", "serve.json"])
def test_prefects_zombies_and_a_leaked_slot(
    workspace: Workspace, dead_pid: int, named_by: str
) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(dead_pid), named_by],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["held"] == ["flow run"] * 2
    seen = ["flow run", "flow run", "slot"]
    assert told["looks"] == [[[k, False] for k in seen], [[k, True] for k in seen], []]
    assert told["states"] == {"killed": "CRASHED", "cancelled": "CRASHED", "alive": "RUNNING"}
    assert told["slots"] == 0


def test_a_finding_says_what_was_or_would_be_done() -> None:
    assert Finding("tmp", "x", "left", "deleted").done == "to do: deleted"
    assert Finding("tmp", "x", "left", "deleted", mended=True).done == "deleted"
