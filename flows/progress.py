"""Where progress goes: a bar in a terminal, a log line every few seconds anywhere else."""

from __future__ import annotations

import time
from typing import Protocol

LOG_EVERY_S = 10.0


class Progress(Protocol):
    """Hears how far a step is. One step at a time."""

    def start(self, step: str, total: int, unit: str) -> None: ...
    def update(self, done: int, total: int, note: str = "") -> None: ...
    def finish(self, summary: str) -> None: ...
    def say(self, message: str) -> None: ...


class LogProgress:
    """Writes to the run's log in Prefect."""

    def __init__(self) -> None:
        self._step, self._unit, self._started, self._last = "", "", 0.0, 0.0

    def start(self, step: str, total: int, unit: str) -> None:
        self._step, self._unit = step, unit
        self._started = self._last = time.monotonic()
        self.say(f"{step}: {total} {unit} to do")

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= LOG_EVERY_S:
            self._last = now
            left = (now - self._started) / max(done, 1) * (total - done)
            self.say(
                f"{self._step}: {done}/{total} {self._unit}, {left:.0f} s left {note}".rstrip()
            )

    def finish(self, summary: str) -> None:
        self.say(f"{self._step}: {summary}" if self._step else summary)

    def say(self, message: str) -> None:
        from prefect.logging import get_run_logger

        get_run_logger().info(message)


_current: Progress = LogProgress()


def current() -> Progress:
    return _current


def use(progress: Progress) -> None:
    """Send the progress of this process's flows to `progress`."""
    global _current
    _current = progress
