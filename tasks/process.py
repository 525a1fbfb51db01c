"""The parent's side of a worker process: start it, hear it, end it. Never imports torch.

The child is forked, listened to and waited for by one thread of its own, which lives as long as
it. Linux ties "die with your parent" to the *thread* that forked: a child of a short-lived one (a
Prefect task's, say) would die with that task. When the parent process ends, `kill -9` included, the
kernel kills the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from storage.errors import InputError, SolonError

ROOT = Path(__file__).resolve().parents[1]
TERMINATE_WAIT_S = 20.0
SAVED = 128 + signal.SIGTERM  # the exit code of tasks/training/ending.py

Event = dict[str, Any]


# What launchers leave behind, and settings of libraries that change what comes out: a worker's job
# is its spec's alone. The hub's (`HF_HOME`, `HF_TOKEN`) say where models are, and stay.
FOREIGN = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_", "TRANSFORMERS_", "TRL_", "PEFT_", "BNB_")
LAUNCHED = frozenset(
    "RANK LOCAL_RANK GROUP_RANK ROLE_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_WORLD_SIZE"
    " ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT".split()
)


def environment() -> dict[str, str]:
    """Of every process of ours in Python: the surroundings' without what decides over results."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHED and not name.startswith(FOREIGN)
    }
    given = os.environ.get("PYTHONPATH")
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), given]))}


class WorkerError(SolonError):
    """A worker process failed or died; the message quotes the end of its log."""


class Worker:
    """One child process running one job. A context manager: leaving it ends the child.

    `result` is the job's result once `events` is exhausted. Not for use from two threads at a time,
    though any thread may use it. The SPEC is kept beside the log as `<log>.spec.json`.
    """

    def __init__(self, spec: dict[str, Any], log_path: Path) -> None:
        self.job = str(spec.get("job"))
        self.log_path = log_path
        self.result: dict[str, Any] | None = None
        self._spec = spec
        self.spec_path = log_path.with_name(log_path.name + ".spec.json")
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._forked: Future[None] = Future()
        self._log_start = 0
        name = f"worker-{self.job}"
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    def __enter__(self) -> Worker:
        return self if self._process else self.start()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> Worker:
        """Start the child. WorkerError where the system starts none."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.spec_path.write_text(json.dumps(self._spec), encoding="utf-8")
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        try:
            self._thread.start()
            self._forked.result()
        except OSError as error:
            raise WorkerError(f"worker {self.job} could not be started: {error}") from error
        except BaseException:
            self.close()
            raise
        return self

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def send(self, message: dict[str, Any]) -> None:
        """Write one JSON line to the child's standard input; WorkerError when it is gone."""
        if self._process is None or self._process.stdin is None:
            raise WorkerError(f"worker {self.job} is not running")
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            list(self.events())  # an `error` event says more than a broken pipe
            raise self._death() from error

    def events(self) -> Iterator[Event]:
        """Events in order until the child has ended well; `result` and `error` are not among them.

        Raises InputError for bad input found by the job, WorkerError when it failed or died.
        """
        while (event := self._events.get()) is not None:
            if event["event"] == "result":
                self.result = event["result"]
            elif event["event"] == "error":
                self._events.put(None)
                raise self._error(event)
            else:
                yield event
        self._events.put(None)  # the end stays readable
        if self.result is None:
            raise self._death()

    def close(self) -> None:
        """End the child: its input is closed, then SIGTERM, 20 s later SIGKILL. Safe to repeat."""
        process = self._process
        if process is None:
            return
        try:
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TERMINATE_WAIT_S)
        finally:
            process.kill()  # does nothing to a process that has ended
            process.wait()
            self._thread.join()

    def _supervise(self) -> None:
        """Fork the child, queue its events, wait for its end: the supervising thread's life."""
        read_end, write_end = os.pipe()
        try:
            self._process = self._fork(write_end)
            self._forked.set_result(None)
        except Exception as error:
            self._forked.set_exception(error)
        finally:
            os.close(write_end)
        try:
            with os.fdopen(read_end, encoding="utf-8") as lines:
                for line in lines:
                    if line.endswith("\n"):  # a killed child may leave half a line
                        self._events.put(json.loads(line))
            if self._process is not None:
                self._process.wait()
        finally:
            self._events.put(None)

    def _fork(self, event_fd: int) -> subprocess.Popen[str]:
        ours = {"SOLON_EVENT_FD": str(event_fd), "SOLON_PARENT_PID": str(os.getpid())}
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.worker", str(self.spec_path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(event_fd,),
                env=environment() | ours,
                encoding="utf-8",
            )

    def _error(self, event: Event) -> SolonError:
        if event["input"]:
            if event["rule"]:
                return InputError(event["value"], event["rule"], event["fix"], event["where"])
            return InputError(self.job, event["message"], "correct it and run again")
        what = f"{event['kind']}: {event['message']}"
        return WorkerError(f"worker {self.job} failed: {what} (log: {self.log_path})")

    def _death(self) -> WorkerError:
        code = self._process.wait() if self._process else 1
        how = f"ended with exit code {code} and no result"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            how += " (often: out of memory)" if -code == signal.SIGKILL else ""
        if code == SAVED:
            how = "was asked to end (SIGTERM) and saved its step: the next run goes on from there"
        with self.log_path.open("rb") as log:
            log.seek(max(self._log_start, self.log_path.stat().st_size - 4096))
            lines = log.read().decode("utf-8", "replace").splitlines()
        joined = " | ".join(line.strip() for line in lines if line.strip())
        tail = joined[-600:] if lines else "(empty)"
        return WorkerError(f"worker {self.job} {how}; log {self.log_path} ends: {tail}")


def warm_up(job: str, log_path: Path, threads: int = 0) -> Worker:
    """A worker that loads a job's libraries (five seconds); give it to `run_job`, or close it."""
    return Worker({"job": job, "threads": threads, "is_warm_up": True}, log_path).start()


def run_job(
    spec: dict[str, Any],
    log_path: Path,
    on_event: Callable[[Event], None] = lambda event: None,
    warm: Worker | None = None,
) -> dict[str, Any]:
    """Run one job to its end and return its result; `on_event` hears every event between.

    `warm`: the worker that `warm_up` started for this job. Raises as `Worker.events` does. An
    exception from `on_event`, KeyboardInterrupt included, ends the child.
    """
    with warm or Worker(spec, log_path) as worker:
        if warm is not None:
            worker.spec_path.write_text(json.dumps(spec), encoding="utf-8")
            worker.send(spec)
        for event in worker.events():
            on_event(event)
        return worker.result or {}
