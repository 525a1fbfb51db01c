"""`kill -9` within each stage of training: are the weights those of the undisturbed one?

    python -m tests.benchmarks.stage_kills [-n 10] [--stage sft] [--seed 1] [--recipe smoke]

A stage is run once undisturbed, from a workspace in which all before it is done. Then, each time in
a copy of that workspace, its child (torch) or its run is killed at a moment drawn from the stage's
whole length, loading to saving, and the next run goes on. It must end with the same checkpoint id
and the same weights, to the bit. Prints a line a kill, with the step it went on from where that is
told, and a table; exit code 1 where one ended otherwise.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from storage.ledger import Ledger
from tests.benchmarks.kills import weights_of
from tests.flows.conftest import HANG_S, Solon
from tests.flows.prefect_db import seed
from tests.flows.test_faults import pids
from tests.flows.test_kill import processes_of

STAGES = ("sft", "reward", "dpo", "ppo")
RESUMED = "SELECT value FROM metrics WHERE subject_id = ? AND name = 'resumed_from_step'"
Weights = dict[str, dict[str, str]]
"""The digests of files of weights, by checkpoint and file."""


class Stage:
    """One stage of training and the workspace it starts from."""

    def __init__(self, name: str, before: Path, recipe: str) -> None:
        self.name, self.before = name, before
        self.run = ["run", "--recipe", recipe, "--until", name]
        self.undisturbed = before.with_name(f"until-{name}")
        solon = self.copy(self.undisturbed)
        process = solon.start(*self.run, "--json")
        self.wait_for_start(solon, process)
        started = time.monotonic()
        process.communicate(timeout=HANG_S)
        self.length_s = time.monotonic() - started
        self.expected = self.finished(solon)

    def copy(self, home: Path) -> Solon:
        shutil.copytree(self.before, home)
        return Solon(home)

    def wait_for_start(self, solon: Solon, process: subprocess.Popen[str]) -> None:
        """Until the stage's child was given its work, which is when its spec names an output."""
        deadline = time.monotonic() + HANG_S
        while process.poll() is None and time.monotonic() < deadline:
            specs = (solon.home / "logs").glob(f"*/{self.name}.log.spec.json")
            if any('"out"' in spec.read_text() for spec in specs):
                return
            time.sleep(0.02)
        raise SystemExit(f"{self.name} did not start: {process.communicate()[1]}")

    def finished(self, solon: Solon) -> Weights:
        """The weights of a run that goes on to the stage's end."""
        made = solon.json(*self.run, hang_s=HANG_S * 4)["checkpoints"].values()
        return {name: weights_of(solon, name) for name in made if name}

    def kill(self, home: Path, target: str, moment: float) -> str | None:
        """ "" where the next run ended as undisturbed, else how not; None: it ended before."""
        solon = self.copy(home)
        process = solon.start(*self.run)
        self.wait_for_start(solon, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment * self.length_s)
        for pid in pids(home, process, target):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=HANG_S)
        if process.returncode == 0:
            return None
        while processes_of(home):
            time.sleep(0.1)
        found = self.finished(solon)
        (made,) = set(found) - {path.name for path in checkpoints(self.before)}
        told = Ledger(home / "ledger.duckdb").query(RESUMED, [made])  # PPO tells none
        step = f", on from step {told[0]['value']:.0f}" if told else ""
        print(f"{self.name:6} {target:5} at {moment:.0%}{step}", end="")
        return "" if found == self.expected else f"other weights: {found}, not {self.expected}"


def checkpoints(home: Path) -> list[Path]:
    return list((home / "artifacts" / "checkpoints").glob("ckp_*"))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("-n", type=int, default=10, help="how many kills a stage")
    options.add_argument("--stage", choices=STAGES, help="this one only")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--recipe", default="smoke")
    given = options.parse_args()
    draw = random.Random(given.seed)
    tried, failed = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="solon-kills-") as folder:
        before = Path(folder) / "until-pairs"
        seed(before)
        Solon(before).json("run", "--recipe", given.recipe, "--until", "pairs", hang_s=HANG_S * 4)
        for name in STAGES:
            stage = Stage(name, before, given.recipe)
            before = stage.undisturbed
            print(f"{name}: {stage.length_s:.0f} s", flush=True)
            while tried[name] < given.n * (given.stage in (None, name)):
                target, moment = draw.choice(("child", "flow")), draw.uniform(0, 1)
                home = Path(folder) / "killed"
                problem = stage.kill(home, target, moment)
                shutil.rmtree(home)
                if problem is not None:
                    tried[name] += 1
                    failed[name] += bool(problem)
                    print(f": {problem or 'as undisturbed'}", flush=True)
    rows = [f"| {name} | {tried[name]} | {failed[name]} |" for name in STAGES]
    print("\n".join(["| killed in | tried | other than undisturbed |", "|---|---|---|", *rows]))
    return 1 if failed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
