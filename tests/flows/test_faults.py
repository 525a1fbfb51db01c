"""`kill -9` of one process of a run at seeded random moments.

The flow, its child (torch), its Prefect server, or the worker that started it. Whatever is killed,
and whenever: the next run goes on, and in the end rows and ids are those of a run without a kill.
`test_kill.py` shows what a kill costs; here is that it costs nothing else. The kills of a smoke run
follow one another here; with SOLON_FAULTS=1 each of them has a run that finishes, too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from flows.serve.doctor import examine
from storage.ledger import Ledger
from storage.workspace import Workspace

from .conftest import HANG_S, Solon
from .prefect_db import seed
from .served import Served
from .test_kill import processes_of
from .world import World

pytestmark = pytest.mark.slow

SEED = 20261121
MARKS = {
    "child": "tasks.worker",
    "server": "flows.serve.pages:create_app",
    "worker": "worker",
}
# What a kill may leave for the next run, or `solon doctor --fix`, to mend.
LEFT_BY_A_KILL = {"run", "tmp", "lock"}
ROWS = {
    "prompts": "prompt_id",
    "completions": "(completion_id, cut_at)",
    "revisions": "revision_id",
    "examples": "example_id",
    "pairs": "pair_id",
}
TRAINED = {"datasets": "dataset_id", "checkpoints": "checkpoint_id"}


def keys(home: Path, tables: dict[str, str]) -> dict[str, list[str]]:
    """The keys of every row, sorted: a lost or a doubled one shows."""
    ledger = Ledger(home / "ledger.duckdb")
    return {
        table: sorted(str(row["k"]) for row in ledger.query(f"SELECT {key} AS k FROM {table}"))
        for table, key in tables.items()
    }


def pids(home: Path, process: subprocess.Popen[str], target: str) -> list[int]:
    if target == "flow":
        return [process.pid]
    found = []
    for pid in processes_of(home):
        with suppress(OSError):
            if MARKS[target].encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def served_run(solon: Any) -> subprocess.Popen[str]:
    """The same run, started by the worker of `solon serve`, which is the process returned."""
    served = Served(solon.home)
    assert served.create("align", {"recipe": "smoke"})[0] == 201
    return served.process


def kill(
    solon: Any,
    process: subprocess.Popen[str],
    target: str,
    begun: Callable[[], bool],
    delay_s: float,
) -> int:
    """Kill what `target` names `delay_s` after `begun`; the exit code of `process`.

    A child that ended by itself before the moment is not killed; its successor is.
    """
    deadline = time.monotonic() + 120
    while not begun():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(delay_s)
    while not (found := pids(solon.home, process, target)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    said = (process.communicate(timeout=HANG_S)[1] or "").strip().rpartition("\n")[2]
    took = time.monotonic() - started
    print(f"{target} killed: exit code {process.returncode} after {took:.1f} s: {said[:300]}")
    while processes_of(solon.home) and time.monotonic() - started < HANG_S:
        time.sleep(0.05)
    assert processes_of(solon.home) == [], "a process outlived its run"
    kinds = {found.kind for found in examine(Workspace(solon.home)).findings}
    assert kinds <= LEFT_BY_A_KILL
    return int(process.returncode)


def assert_clean(solon: Any) -> None:
    """No slot held, no process alive, nothing for the doctor."""
    with closing(sqlite3.connect(solon.home / "prefect" / "prefect.db")) as db:
        held = db.execute("SELECT active_slots FROM concurrency_limit_v2 WHERE name = 'gpu'")
        assert held.fetchall() == [(0,)]
    assert processes_of(solon.home) == []
    assert solon.json("doctor")["findings"] == []


def prompts_file(path: Path, numbers: range) -> Path:
    lines = (json.dumps({"prompt": f"What is question {n} about?"}) for n in numbers)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def scripted(path: Path) -> dict[str, Any]:
    return {"generation.engine": "scripted", "prompts.path": str(path), "prompts.limit": 10_000}


def options(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def row_count(home: Path) -> int:
    path = home / "ledger.duckdb"
    return len(Ledger(path).query("SELECT 1 FROM completions")) if path.exists() else 0


def test_killed_while_rows_are_made(solon: Any, tmp_path: Path) -> None:
    """Four kills, each over more prompts: as the server starts, and as rows are made."""
    path, draw = tmp_path / "prompts.jsonl", random.Random(SEED)
    arguments = ["run", "--recipe", "smoke", "--until", "pairs", *options(scripted(path))]
    for number, (target, moment) in enumerate(product(("flow", "server"), ("start", "rows")), 1):
        prompts_file(path, range(500 * number))
        before, process = row_count(solon.home), solon.start(*arguments)

        def begun(moment: str = moment, before: int = before) -> bool:
            if moment == "start":
                return bool(pids(solon.home, process, "server"))  # noqa: B023
            return row_count(solon.home) > before

        kill(solon, process, target, begun, draw.uniform(0, 1.5))
        result = solon.json(*arguments)
        world = World(tmp_path / f"undisturbed-{number}", **scripted(path))
        world.run(world.inputs)
        expected = {"sft": world_id(world, "sft"), "preferences": world_id(world)}
        assert result["snapshots"] == expected
        made = keys(solon.home, ROWS)
        assert made == keys(world.workspace.root, ROWS)
        assert all(len(set(found)) == len(found) > 0 for found in made.values())
        assert_clean(solon)


def world_id(world: World, kind: str = "preferences") -> str:
    found = world.ledger.query("SELECT dataset_id FROM datasets WHERE kind = ?", [kind])
    assert len(found) == 1
    return str(found[0]["dataset_id"])


# What is killed, at which job's work, and for how many seconds after its start at most.
MOMENTS = [
    ("child", "generate", 8.0),
    ("flow", "generate", 8.0),
    ("worker", "sft", 1.0),  # of `solon serve`, which runs the flow then
    ("flow", "dpo", 2.0),
    ("child", "ppo", 1.0),
    ("server", "evaluate", 2.0),  # the last: a run outlives its server, which is started again
]


def at_work(home: Path, job: str, runs_before: set[Path]) -> bool:
    """Whether a run since then has given a worker that job: a worker being warmed up has none."""
    for path in home.glob(f"logs/*/{job}.log.spec.json"):
        if path.parent not in runs_before:
            with suppress(ValueError):  # half written
                return "is_warm_up" not in json.loads(path.read_text())
    return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The workspace and the result of a smoke run that nobody killed."""
    solon = Solon(tmp_path_factory.mktemp("undisturbed") / "home")
    seed(solon.home)
    return solon.home, solon.json("run", "--recipe", "smoke")


@pytest.mark.skipif("SOLON_FAULTS" not in os.environ, reason="minutes: wants SOLON_FAULTS=1")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[0]}-{m[1]}")
def test_killed_once(
    solon: Any, undisturbed: tuple[Path, dict[str, Any]], moment: tuple[str, str, float]
) -> None:
    """One kill, and the run that goes on from it finishes as if there had been none."""
    home, expected = undisturbed
    target, job, at_most_s = moment
    seed(solon.home)
    process = served_run(solon) if target == "worker" else solon.start("run", "--recipe", "smoke")
    delay_s = random.Random(f"{SEED} {target} {job}").uniform(0, at_most_s)
    kill(solon, process, target, lambda: at_work(solon.home, job, set()), delay_s)
    result = solon.json("run", "--recipe", "smoke")
    for name in ("snapshots", "checkpoints"):
        assert result[name] == expected[name]
    assert keys(solon.home, ROWS | TRAINED) == keys(home, ROWS | TRAINED)
    assert_clean(solon)


def test_killed_again_and_again(solon: Any, tmp_path: Path) -> None:
    """Six kills in a row: each run goes on from the one before, past where that was killed."""
    arguments, draw = ["run", "--recipe", "smoke"], random.Random(SEED)
    undisturbed = type(solon)(tmp_path / "undisturbed")
    for home in (solon.home, undisturbed.home):
        seed(home)
    beside = undisturbed.start(*arguments, "--json")
    for target, job, at_most_s in MOMENTS:
        runs = set((solon.home / "logs").glob("*"))
        begun = lambda job=job, runs=runs: at_work(solon.home, job, runs)  # noqa: E731
        process = served_run(solon) if target == "worker" else solon.start(*arguments)
        code = kill(solon, process, target, begun, draw.uniform(0, at_most_s))
        assert code != 0 or target not in ("flow", "worker")
    result, expected = solon.json(*arguments), json.loads(beside.communicate(timeout=200)[0])
    for name in ("snapshots", "checkpoints"):
        assert result[name] == expected[name]
    assert keys(solon.home, ROWS | TRAINED) == keys(undisturbed.home, ROWS | TRAINED)
    assert list(solon.home.glob("tmp/*")) == list(solon.home.glob("state/*")) == []
    assert_clean(solon)
