"""`kill -9` of the whole process tree: nothing that was committed is lost or made again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.ledger import Ledger
from tasks.training.resume import MARKER, step_of
from tests.flipped import flip

from .conftest import HANG_S
from .driven import TINY
from .prefect_db import seed

pytestmark = pytest.mark.slow

PROMPTS = 40
# Ten batches: whoever looks late, on a busy machine, still finds it under way.
SLOW = [f"--set=prompts.limit={PROMPTS}", "--set=generation.batch_rows=4"]
SLOW += ["--set=generation.max_new_tokens.draft=160"]
FEW = [f"--set={name}={value}" for name, value in TINY.items()]
LONG_DPO = [*FEW, "--set", "dpo.max_steps=30", "--set", "dpo.save_steps=2"]


@pytest.fixture(autouse=True)
def has_database(solon: Any) -> None:
    seed(solon.home)


def processes_of(home: Path) -> list[int]:
    """Processes that were started for this workspace (its folder is in their environment)."""
    mark, found = f"SOLON_HOME={home}".encode(), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found.append(int(entry.name))
    return found


def kill_when(
    solon: Any, arguments: list[str], reached: Callable[[], bool], whole_tree: bool = False
) -> None:
    """Start a run and kill it, or it and all its children, as soon as `reached`."""
    process: subprocess.Popen[str] = solon.start(*arguments)
    deadline = time.monotonic() + HANG_S
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for pid in processes_of(solon.home) if whole_tree else [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    while processes_of(solon.home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(solon.home) == [], "a child is alive after its parent was killed"


def completions(home: Path) -> dict[tuple[str, int], str]:
    rows = Ledger(home / "ledger.duckdb").query(
        "SELECT completion_id, cut_at, created_at::VARCHAR AS at FROM completions"
        " WHERE step = 'draft'"
    )
    return {(row["completion_id"], row["cut_at"]): row["at"] for row in rows}


def test_killed_while_drafting(solon: Any) -> None:
    arguments = ["run", "--recipe", "smoke", "--until", "drafts", *SLOW]
    kill_when(solon, arguments, lambda: 0 < len(completions(solon.home)) < PROMPTS)
    committed = completions(solon.home)
    assert 0 < len(committed) < PROMPTS
    result = solon.json(*arguments)
    drafts = result["steps"][0]
    assert (drafts["reused"], drafts["generated"]) == (len(committed), PROMPTS - len(committed))
    after = completions(solon.home)
    assert committed.items() <= after.items()  # the same rows, from the same moment
    assert len({completion_id for completion_id, _ in after}) == PROMPTS


def test_ctrl_c_ends_everything_and_the_next_run_goes_on(solon: Any) -> None:
    """Ctrl-C in a terminal reaches every process of the foreground group."""
    arguments = ["run", "--recipe", "smoke", "--until", "drafts", *SLOW]
    process = solon.start(*arguments, start_new_session=True)
    while not 0 < len(completions(solon.home)) < PROMPTS:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert out == ""
    assert "the next run goes on from it" in err
    assert "Traceback" not in err
    assert processes_of(solon.home) == []
    kept = len(completions(solon.home))
    assert kept < PROMPTS, "it went on to the end"
    drafts = solon.json(*arguments)["steps"][0]
    assert (drafts["reused"], drafts["generated"]) == (kept, PROMPTS - kept)


def test_killed_while_training_dpo_and_its_newest_state_damaged(solon: Any) -> None:
    arguments = ["run", "--recipe", "smoke", "--until", "dpo", *LONG_DPO]

    def in_dpo() -> bool:
        sql = "SELECT 1 FROM refs WHERE name = 'smoke/latest/reward'"
        if not Ledger(solon.home / "ledger.duckdb").query(sql):
            return False
        # Two states are whole once a third is begun.
        return any(solon.home.glob("state/*/checkpoint-[68]/trainer_state.json"))

    kill_when(solon, arguments, in_dpo, whole_tree=True)
    newest = max(solon.home.glob(f"state/*/*/{MARKER}"), key=lambda path: step_of(path.parent))
    flip(newest.with_name("optimizer.pt"))
    found = json.loads(solon.run("verify", "--json", code=1)[0])
    states = [f["subject"] for f in found["faults"] if f["subject"].startswith("state/")]
    assert states == [str(newest.parent.relative_to(solon.home))]
    ledger = Ledger(solon.home / "ledger.duckdb")
    before = ledger.query(
        "SELECT checkpoint_id, created_at::VARCHAR AS at FROM checkpoints ORDER BY 1"
    )
    assert len(before) == 2
    out, said = solon.run(*arguments, "--json")
    told = "".join(said.split())  # its lines are as wide as a terminal
    assert f"{newest.parent}:isnotwhatwaswritten" in told
    result = json.loads(out)
    steps = {step["step"]: step for step in result["steps"]}
    assert [steps[s]["generated"] for s in ("drafts", "critiques", "revisions")] == [0, 0, 0]
    assert [steps[s]["trained"] for s in ("sft", "reward", "dpo")] == [0, 0, 1]
    after = ledger.query(
        "SELECT checkpoint_id, created_at::VARCHAR AS at FROM checkpoints ORDER BY 1"
    )
    assert [row for row in after if row in before] == before
    resumed = ledger.query(
        "SELECT value FROM metrics WHERE name = 'resumed_from_step' AND subject_id = ?",
        [result["checkpoints"]["dpo"]],
    )
    assert 0 < resumed[0]["value"] < step_of(newest.parent)
    assert list(solon.home.glob("state/*")) == []
    assert list(solon.home.glob("tmp/ckp_*")) == []
