"""A stage that is asked to end saves its step, and the next run goes on from there."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from transformers import TrainerControl

from tasks.process import SAVED, WorkerError, run_job
from tasks.report import Report
from tasks.training.callbacks import Reporter
from tasks.training.ending import ENDED, Ending, heard

ROWS: list[dict[str, Any]] = [
    {
        "id": f"r{n}",
        "messages": [{"role": "user", "content": "q" * (1 + n % 5)}],
        "response": "ab" * (1 + n % 3),
        "chosen": "a" * (1 + n % 4),
        "rejected": "b" * (1 + n % 3),
        "preference": 0.9,
    }
    for n in range(10)
]
SETTINGS = {"max_steps": 6, "batch_size": 2, "learning_rate": 1e-2, "save_steps": 1000}


@pytest.fixture(autouse=True)
def default_action() -> Any:
    """A signal that nobody notes would end the tests."""
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nobody heard the signal"))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("job", ["sft", "reward", "dpo"])
def test_the_step_is_saved_and_the_next_run_goes_on(stage: Callable[..., Any], job: str) -> None:
    straight = stage(job, "straight").data(ROWS, ROWS[:3])
    straight.run(**SETTINGS)
    ended = stage(job, "ended").data(ROWS, ROWS[:3])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as found:
        ended.run(**SETTINGS, end_at=2)
    assert found.value.code == ENDED
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not (ended.out / "adapter").exists(), "half a training is no artifact"
    assert ended.run(**SETTINGS)["metrics"]["resumed_from_step"] == 3
    assert ended.logged() == straight.logged()
    assert all(torch.equal(ended.adapter()[n], t) for n, t in straight.adapter().items())


@pytest.mark.slow
def test_a_worker_that_is_terminated_says_so_and_is_gone_on_with(
    stage: Callable[..., Any], tmp_path: Path
) -> None:
    """As a batch system would: the process alone, while its parent listens."""
    run, log = stage("sft", "worker").data(ROWS, []), tmp_path / "worker.log"
    for folder in (run.out, run.state):
        folder.mkdir(parents=True)
    spec = {**run.spec, "settings": {**run.spec["settings"], **SETTINGS, "max_steps": 400}}
    hears: list[int] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress" and not hears:
            hears.append(event["done"])
            terminate(log)

    with pytest.raises(WorkerError, match=r"asked to end \(SIGTERM\) and saved its step"):
        run_job(spec, log, on_event)
    assert ENDED == SAVED
    metrics = run_job(spec, log)["metrics"]
    assert hears[0] < metrics["resumed_from_step"] < 400


def terminate(log: Path) -> None:
    """SIGTERM to the worker whose job file lies beside that log."""
    spec = f"{log}.spec.json".encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"tasks.worker" in words and spec in words:
            os.kill(int(entry.parent.name), signal.SIGTERM)


def test_in_a_thread_nothing_is_changed() -> None:
    """A library's user may train in a thread, where Python lets nobody hear signals."""
    found: list[bool] = []

    def train() -> None:
        with heard() as ending:
            found.append(ending.is_asked)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [False]


def test_an_evaluation_that_is_the_last_is_saved_too() -> None:
    """Asked to end while a stage is evaluated, which stops it: no step is left that would save."""
    ending, control = Ending(), TrainerControl()
    reporter = Reporter(Report(io.StringIO()), 0, ending)
    reporter.on_evaluate(None, None, control)
    assert not control.should_save
    ending.is_asked = True
    reporter.on_evaluate(None, None, control)
    assert control.should_save
