"""One job on the device at a time.

Two guards, taken around the real work only: Prefect's global limit `gpu`, which people see and set
in the UI, and a lock of the kernel's, which holds when the server is away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect.concurrency.sync import concurrency

from storage.lock import file_lock

if TYPE_CHECKING:
    from flows.session import Session

LIMIT = "gpu"
WAIT_S = 7 * 24 * 3600.0
LEASE_S = 60.0


@contextmanager
def device_slot(session: Session) -> Iterator[None]:
    """Hold the device. Waits for whoever has it; raises where the limit `gpu` does not exist."""
    path = session.workspace.root / "device.lock"
    with (
        concurrency(LIMIT, occupy=1, strict=True, lease_duration=LEASE_S),
        file_lock(path, WAIT_S, session.run_id),
    ):
        yield
