"""`kill -9` at random moments over all stages: does the next run go on, and is anything lost?

    python -m tests.benchmarks.kills [-n 100] [--seed 1] [--recipe smoke]

A run is started in a workspace, and at a moment drawn from its whole length its own process, its
child (torch), its Prefect server or all of them are killed; the next one goes on from there. After
each kill every row and checkpoint that was committed must be there, no process alive, and the
doctor must name nothing but what a kill may leave. A run that ends before its moment is held to
one that nobody killed, ids, rows and weights alike, and the next begins in a fresh workspace.
Prints a table of tried, failed, lost; exit code 1 where one of the last two is not 0.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from flows.serve.doctor import examine
from storage.artifacts import artifact_path, listed_files
from storage.workspace import Workspace
from tests.flows.conftest import HANG_S, Solon
from tests.flows.prefect_db import seed
from tests.flows.test_faults import LEFT_BY_A_KILL, ROWS, TRAINED, keys, pids
from tests.flows.test_kill import processes_of

TARGETS = ("flow", "child", "server", "all")
Keys = dict[str, list[str]]


class Kills:
    """One series: what was tried, where a run did not go on, which rows went. By target."""

    def __init__(self, folder: Path, recipe: str, draw: random.Random) -> None:
        self.folder, self.run, self.draw = folder, ["run", "--recipe", recipe], draw
        self.tried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        started = time.monotonic()
        self.expected = self.finished(self.fresh("undisturbed"))
        self.length_s = time.monotonic() - started

    def fresh(self, name: str) -> Solon:
        solon = Solon(self.folder / name)
        seed(solon.home)
        return solon

    def finished(self, solon: Solon) -> tuple[object, Keys]:
        """The ids and weights of a run that goes on to its end, and the keys of all rows then."""
        result = solon.json(*self.run, hang_s=HANG_S * 4)
        made = [result["snapshots"], result["checkpoints"]]
        weights = {name: weights_of(solon, name) for name in result["checkpoints"].values()}
        return [*made, weights], keys(solon.home, ROWS | TRAINED)

    def again_and_again(self, count: int) -> None:
        solon, last = self.fresh("killed-0"), "flow"
        while self.tried.total() < count:
            target = self.draw.choice(TARGETS)
            if self.one(solon, target):
                self.tried[target] += 1
                last = target
                continue
            self.hold(solon, last)
            solon = self.fresh(f"killed-{self.tried.total()}-{time.monotonic_ns()}")
        self.hold(solon, last)

    def one(self, solon: Solon, target: str) -> bool:
        """A run that is killed at a random moment; False where it had ended before."""
        before = keys(solon.home, ROWS | TRAINED)
        process = solon.start(*self.run)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.draw.uniform(0, self.length_s))
        while not (found := self.found(solon, process, target)) and process.poll() is None:
            time.sleep(0.02)
        if process.poll() is not None:
            self.end(solon, process)
            return False
        held = keys(solon.home, ROWS | TRAINED)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        problems = self.end(solon, process)
        gone = [*missing(before, held), *missing(held, keys(solon.home, ROWS | TRAINED))]
        self.failed[target] += bool(problems)
        self.lost[target] += len(gone)
        print(f"{target:7} {'; '.join(problems) or 'well'}; {len(gone)} rows lost", flush=True)
        return True

    def found(self, solon: Solon, process: subprocess.Popen[str], target: str) -> list[int]:
        return processes_of(solon.home) if target == "all" else pids(solon.home, process, target)

    def end(self, solon: Solon, process: subprocess.Popen[str]) -> list[str]:
        """Wait until nothing of a run is left; what is not as it should be then."""
        said = process.communicate(timeout=HANG_S)[1]
        deadline = time.monotonic() + 60
        while processes_of(solon.home) and time.monotonic() < deadline:
            time.sleep(0.1)
        kinds = {found.kind for found in examine(Workspace(solon.home)).findings}
        problems = [f"doctor names {kind}" for kind in sorted(kinds - LEFT_BY_A_KILL)]
        problems += ["a process is alive"] * bool(processes_of(solon.home))
        return problems + ["a traceback"] * ("Traceback" in said)

    def hold(self, solon: Solon, target: str) -> None:
        """Let a run end, and hold it to the one that nobody killed."""
        try:
            made, rows = self.finished(solon)
        except AssertionError as error:  # the run failed
            made, rows = str(error), keys(solon.home, ROWS | TRAINED)
        if (made, rows) == self.expected:
            print("to the end: as undisturbed", flush=True)
            return
        self.failed[target] += 1
        self.lost[target] += len(missing(self.expected[1], rows))
        print(f"to the end: OTHER THAN UNDISTURBED: {str(made)[:1000]}", flush=True)

    def table(self) -> str:
        lines = ["| killed | tried | failed | lost |", "|---|---|---|---|"]
        for target in TARGETS:
            numbers = self.tried[target], self.failed[target], self.lost[target]
            lines.append(f"| {target} | {' | '.join(map(str, numbers))} |")
        return "\n".join(lines)


def weights_of(solon: Solon, checkpoint_id: str) -> dict[str, str]:
    """The digests of a checkpoint's files of weights, by name."""
    files = listed_files(artifact_path(Workspace(solon.home), checkpoint_id))
    return {name: digest for name, _, digest in files if name.endswith(".safetensors")}


def missing(before: Keys, after: Keys) -> list[str]:
    return [key for table in before for key in set(before[table]) - set(after[table])]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("-n", type=int, default=100, help="how many kills")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--recipe", default="smoke")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="solon-kills-") as folder:
        kills = Kills(Path(folder), given.recipe, random.Random(given.seed))
        print(f"a run takes {kills.length_s:.0f} s; {given.n} kills, seed {given.seed}", flush=True)
        kills.again_and_again(given.n)
    print(kills.table())
    return 1 if kills.failed.total() or kills.lost.total() else 0


if __name__ == "__main__":
    sys.exit(main())
