"""A stage that is asked to end saves the step it is at first.

SIGTERM is how a batch system says that a job's time is over, and how Solon ends a worker on Ctrl-C,
20 seconds before SIGKILL. It is noted between the first step and the last, where there is something
to save; before and after it ends the process at once, as ever.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDED = 128 + signal.SIGTERM
"""The exit code of a process that SIGTERM ended, as a shell tells it."""


class Ending:
    """Whether this process was asked to end."""

    is_asked = False

    def leave(self) -> None:
        """End the process if it was asked to: what there is was saved."""
        if self.is_asked:
            raise SystemExit(ENDED)


@contextmanager
def heard() -> Iterator[Ending]:
    """Within the block SIGTERM is noted; at its end a process that was asked to end does.

    In a thread, where Python hears no signals, nothing is changed.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def note(*_: object) -> None:
        ending.is_asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield ending
        ending.leave()
    finally:
        signal.signal(signal.SIGTERM, before)
