"""What Prefect costs: the method through server and worker beside the same steps called directly.

    python tests/benchmarks/overhead.py [--recipe demo] [--check] [--keep FOLDER]

First the steps by themselves, in one process: no server, no flow, tasks as plain functions. Then
`solon serve` in a second fresh workspace and one run of the deployment `align`, from the moment it
is asked for to its end, as Prefect's database has them. Rows and ids must be equal. With `--check`
the exit code is 1 where that is longer by more than 15 s or 5 %. What the workers took is told
apart: a machine that changes its speed between the two changes that, and Prefect cannot.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from flows.serve.server import free_port, running
from storage.ledger import Ledger
from storage.workspace import Workspace

LIMIT_S, LIMIT_PERCENT = 15.0, 5.0
POLL_S = 0.5


@dataclass(frozen=True)
class Done:
    """One run of the method: seconds in all, seconds of its workers, its ids."""

    seconds: float
    workers_s: float
    ids: list[str]


class Plain:
    """A task's function without Prefect."""

    def __init__(self, task: Any) -> None:
        self.call: Callable[..., Any] = task.fn

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def with_options(self, **_: Any) -> Plain:
        return self


def call_directly(recipe: str) -> None:
    """The steps, in this process and in the workspace of `SOLON_HOME`; prints their seconds."""
    import flows.align
    import flows.run.ask
    import flows.run.stages
    from flows.run import progress
    from flows.run.console import BarProgress
    from flows.run.session import open_session

    progress.use(BarProgress(Console(stderr=True)))
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    with ExitStack() as patches:
        for place, instead in {
            "flows.run.ask.complete_chunk": Plain(flows.run.ask.complete_chunk),
            "flows.run.stages.make": Plain(flows.run.stages.make),
            "flows.run.workers.device_slot": lambda *_: nullcontext(),
            "flows.run.data.publish_samples": nothing,
            "flows.align.publish_run": nothing,
        }.items():
            patches.enter_context(patch(place, instead))
        started = time.monotonic()
        with open_session(recipe, None, None) as session:
            flows.align.method(session)
    print(time.monotonic() - started)


def direct(home: Path, recipe: str) -> Done:
    command = [sys.executable, __file__, "--recipe", recipe, "--directly"]
    environment = os.environ | {"SOLON_HOME": str(home)}
    output = subprocess.run(command, env=environment, stdout=-1, text=True, check=True).stdout
    return done(home, float(output.splitlines()[-1]))


def through_prefect(home: Path, recipe: str) -> Done:
    """One run of the deployment `align`, asked for once everything is served."""
    with served(home), running(Workspace(home)):
        from prefect.client.orchestration import get_client  # it reads its settings at import

        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name("align/run-the-method")
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters={"recipe": recipe}
            )
            while run.state is None or not run.state.is_final():
                time.sleep(POLL_S)
                run = client.read_flow_run(run.id)
        if not run.state.is_completed() or run.created is None or run.end_time is None:
            raise SystemExit(f"the run ended as {run.state}")
    return done(home, (run.end_time - run.created).total_seconds())


@contextmanager
def served(home: Path) -> Iterator[None]:
    """`solon serve` in the workspace."""
    said = home.with_suffix(".said")
    command = [sys.executable, "-m", "flows.commands.cli", "serve", "--port", str(free_port())]
    with said.open("w") as file:
        process = subprocess.Popen(command, env=os.environ | {"SOLON_HOME": str(home)}, stderr=file)
    try:
        while "stop" not in said.read_text():
            if process.poll() is not None:
                raise SystemExit(said.read_text())
            time.sleep(POLL_S)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def done(home: Path, seconds: float) -> Done:
    ledger = Ledger(home / "ledger.duckdb")
    worked = """SELECT sum(duration_s) AS s FROM completions
        UNION ALL SELECT sum(duration_s) FROM checkpoints"""
    ids = "SELECT dataset_id AS id FROM datasets UNION SELECT checkpoint_id FROM checkpoints"
    workers_s = sum(row["s"] for row in ledger.query(worked))
    return Done(seconds, workers_s, sorted(row["id"] for row in ledger.query(ids)))


def main() -> None:
    parser = argparse.ArgumentParser(description="What Prefect costs a whole run.")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--keep", type=Path, help="work here, and leave both workspaces")
    parser.add_argument("--directly", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.directly:
        return call_directly(options.recipe)
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
        by_itself = direct(Path(folder) / "direct", options.recipe)
        whole = through_prefect(Path(folder) / "served", options.recipe)
    more = whole.seconds - by_itself.seconds
    percent = 100 * more / by_itself.seconds
    print("| run | seconds | its workers | all else |\n|---|---|---|---|")
    for name, found in (("steps called directly", by_itself), ("through Prefect", whole)):
        rest = found.seconds - found.workers_s
        print(f"| {name} | {found.seconds:.1f} | {found.workers_s:.1f} | {rest:.1f} |")
    print(f"\nPrefect: {more:+.1f} s, {percent:+.1f} %; equal ids: {whole.ids == by_itself.ids}")
    if whole.ids != by_itself.ids:
        raise SystemExit("the two made different rows or checkpoints")
    if options.check and (more > LIMIT_S or percent > LIMIT_PERCENT):
        raise SystemExit(f"longer by more than {LIMIT_S:g} s or {LIMIT_PERCENT:g} %")


if __name__ == "__main__":
    main()
