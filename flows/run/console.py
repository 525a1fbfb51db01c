"""What a person at a terminal sees: one progress bar with rate and time left, on standard error."""

from __future__ import annotations

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


class BarProgress:
    """Implements flows.run.progress.Progress: a Rich bar, plain lines without a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._step = ""

    def start(self, step: str, total: int, unit: str) -> None:
        self.close()
        self._step = step
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
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)

    def finish(self, summary: str) -> None:
        self.close()
        self.console.print(f"{self._step}: {summary}", highlight=False, markup=False)

    def say(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False, style="dim")

    def close(self) -> None:
        """Take the bar down, if there is one; also on the way out of an exception."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
