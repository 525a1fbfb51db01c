"""Where progress goes: a bar in a terminal; anywhere else Prefect's log and a bar in its UI."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from uuid import UUID

LOG_EVERY_S = 10.0
SHOW_EVERY_S = 1.0  # an update is a request to the server


class Progress(Protocol):
    """Hears how far a step is. One step at a time."""

    def start(self, step: str, total: int, unit: str) -> None: ...
    def update(self, done: int, total: int, note: str = "") -> None: ...
    def finish(self, summary: str) -> None: ...
    def say(self, message: str) -> None: ...


class LogProgress:
    """Writes to the run's log in Prefect, and shows each step as a progress artifact."""

    def __init__(self) -> None:
        self._step, self._unit, self._started, self._last = "", "", 0.0, 0.0
        self._artifact: StepArtifact | None = None

    def start(self, step: str, total: int, unit: str) -> None:
        self._step, self._unit = step, unit
        self._started = self._last = time.monotonic()
        self.say(f"{step}: {total} {unit} to do")
        self._artifact = StepArtifact(step, f"{step}: {total} {unit} to do")

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        seconds = max(now - self._started, 1e-6)
        left = seconds / max(done, 1) * (total - done)
        text = (
            f"{self._step}: {done}/{total} {self._unit}, {done / seconds:.3g} {self._unit}/s,"
            f" {left:.0f} s left {note}"
        ).rstrip()
        if now - self._last >= LOG_EVERY_S:
            self._last = now
            self.say(text)
        if self._artifact:
            self._artifact.show(100 * done / max(total, 1), text)

    def finish(self, summary: str) -> None:
        text = f"{self._step}: {summary}" if self._step else summary
        self.say(text)
        if self._artifact:
            self._artifact.show(100.0, text, is_last=True)
        self._step, self._artifact = "", None

    def say(self, message: str) -> None:
        from prefect.logging import get_run_logger

        get_run_logger().info(message)


class StepArtifact:
    """A step's bar in the UI. After the first failure it is left as it is: work goes on without."""

    def __init__(self, step: str, text: str) -> None:
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-")
        self._id: UUID | None = None
        self._shown, self._is_broken = 0.0, False
        self.show(0.0, text)

    def show(self, percent: float, text: str, is_last: bool = False) -> None:
        """Draw the bar anew, at most once in SHOW_EVERY_S but for the end of the step."""
        now = time.monotonic()
        if self._is_broken or not (is_last or now - self._shown >= SHOW_EVERY_S):
            return
        self._shown = now
        try:
            self._send(percent, text)
        except Exception:  # whatever a client raises: a picture must not end hours of training
            self._is_broken = True

    def _send(self, percent: float, text: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._id is None:
            self._id = cast("UUID", create_progress_artifact(percent, self._key, text))
        else:
            update_progress_artifact(self._id, percent, text)


_current: Progress = LogProgress()


def current() -> Progress:
    return _current


def use(progress: Progress) -> None:
    """Send the progress of this process's flows to `progress`."""
    global _current
    _current = progress
