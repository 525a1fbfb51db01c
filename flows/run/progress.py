"""Where progress goes: a bar in a terminal; anywhere else Prefect's log and a bar in its UI."""

from __future__ import annotations

import re
import time
from pathlib import PurePath
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
        text = f"{step}: {total} {unit} to do"
        self.say(text)
        self._artifact = StepArtifact(step, text)

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
        text = sentence(self._step, summary, self._started)
        self.say(text)
        if self._artifact:
            self._artifact.show(100.0, text, is_last=True)
        self._step, self._artifact = "", None

    def say(self, message: str) -> None:
        log(message)


def sentence(step: str, summary: str, started: float) -> str:
    """What a step did and how long it took, as "drafts: 80 made in 64.0 s, 146 tokens/s".

    The time stands before the summary's first comma. A summary without a step stays as it is.
    started: when the step began, by time.monotonic().
    """
    if not step:
        return summary
    first, comma, rest = summary.partition(",")
    return f"{step}: {first} in {time.monotonic() - started:.1f} s{comma}{rest}"


def log(message: str) -> None:
    """Write to the log of the flow run that calls, if one does.

    Not to that of its task: there Prefect's own "Finished in state Completed()" is silenced, and
    with it every line of that level.
    """
    from prefect.context import FlowRunContext
    from prefect.logging.loggers import flow_run_logger

    context = FlowRunContext.get()
    if context and context.flow_run:
        flow_run_logger(context.flow_run, context.flow).info(message)


class StepArtifact:
    """A step's bar in the UI. After the first failure it is left as it is: work goes on without."""

    def __init__(self, step: str, text: str) -> None:
        self._key = "progress-" + _dashed(step)
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
        from prefect.runtime import flow_run

        text = f"{flow_run.get_name()}: {text}"  # a flow run's name says its recipe
        if self._id is None:
            key = key_of(str(flow_run.get_parameters().get("recipe", "")), self._key)
            self._id = cast("UUID", create_progress_artifact(percent, key, text))
        else:
            update_progress_artifact(self._id, percent, text)


def _dashed(text: str) -> str:
    """A text as part of an artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def key_of(recipe: str, key: str) -> str:
    """The key of an artifact: one for each recipe, as the UI keeps the versions of a key together.

    recipe: its name, or a file of it.
    """
    name = _dashed(PurePath(recipe).stem)
    return f"{name}-{key}" if name else key


_current: Progress = LogProgress()


def current() -> Progress:
    return _current


def use(progress: Progress) -> None:
    """Send the progress of this process's flows to `progress`."""
    global _current
    _current = progress
