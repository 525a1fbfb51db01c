"""What a person at a terminal sees: one progress bar with rate and time left, on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.run.progress import log, sentence

SAY_EVERY_S = 30.0  # without a terminal


class BarProgress:
    """Implements flows.run.progress.Progress: a Rich bar, plain lines without a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._step, self._unit = "", ""
        self._started = self._said = 0.0

    def start(self, step: str, total: int, unit: str) -> None:
        self.close()
        self._step, self._unit = step, unit
        self._started = self._said = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{step}: {total} {unit}", highlight=False)
            return
        self._bar = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._bar.start()
        self._task = self._bar.add_task(step, total=total, unit=unit, note="")

    def update(self, done: int, total: int, note: str = "") -> None:
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            text = f"{self._step}: {done}/{total} {self._unit} {note}".rstrip()
            self.console.print(text, highlight=False, markup=False)

    def finish(self, summary: str) -> None:
        """Say it here and, as the server may be looked at later, in the run's log there."""
        self.close()
        text = sentence(self._step, summary, self._started)
        self._step = ""
        self.console.print(text, highlight=False, markup=False)
        log(text)

    def say(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False, style="dim")

    def close(self) -> None:
        """Take the bar down, if there is one; also on the way out of an exception."""
        if self._bar:
            self._bar.stop()
            self._bar = None
