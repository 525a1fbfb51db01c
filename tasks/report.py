"""How a worker process tells its parent what happens: one JSON object a line."""

from __future__ import annotations

import json
import threading
from typing import IO, Any

from storage.errors import InputError


class JobInputError(InputError, ValueError):
    """Bad input found inside a job. A ValueError too: pydantic makes a fault of its field of it."""


class Report:
    """Writes events to `stream`, one line each, flushed at once; safe to share between threads."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def event(self, kind: str, /, **fields: Any) -> None:
        """Write {"event": kind, **fields}. Fields are JSON values; `nan` and `inf` are allowed."""
        line = json.dumps({"event": kind, **fields})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def progress(self, done: int, total: int, unit: str = "steps", **extra: Any) -> None:
        """Work done so far, 0 <= done <= total, in `unit`s."""
        self.event("progress", done=done, total=total, unit=unit, **extra)

    def metric(self, step: int, **values: float) -> None:
        """Numbers measured at optimiser step `step` (numpy and torch scalars are converted)."""
        numbers = {name: float(value) for name, value in values.items()}
        self.event("metric", step=int(step), **numbers)

    def log(self, message: str, level: str = "info") -> None:
        """A line for people; level is "info", "warning" or "error"."""
        self.event("log", level=level, message=message)
