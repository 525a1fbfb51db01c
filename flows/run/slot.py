"""One job on the device at a time.

Two guards, taken around the real work only: Prefect's global limit `gpu`, which people see and set
in the UI, and a lock of the kernel's, which holds when the server is away.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from threading import Event, Thread

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.run import progress
from flows.run.keeper import wait_until_up
from storage.errors import LedgerBusy
from storage.lock import file_lock
from storage.workspace import Workspace

LIMIT = "gpu"
LOCK = "device.lock"
WAIT_S = 7 * 24 * 3600.0
LEASE_S = 60.0
SAY_S, AGAIN_S = 5.0, 60.0  # when a wait is said first, and then again
# Just after a change of state the server's recorder is still writing. A slot that is asked for then
# is refused as "database is locked", and Prefect's client tries again after two seconds.
SETTLE_S = 0.3


@contextmanager
def device_slot(workspace: Workspace, run_id: str) -> Iterator[None]:
    """Hold the device for a run. Waits for whoever has it; raises where there is no limit `gpu`."""
    time.sleep(SETTLE_S)
    wait_until_up()
    with ExitStack() as stack:
        with _said():
            slot = concurrency(LIMIT, occupy=1, strict=True, lease_duration=LEASE_S)
            stack.enter_context(slot)
            stack.enter_context(file_lock(workspace.root / LOCK, WAIT_S, run_id))
        try:
            yield
        finally:
            wait_until_up()


@contextmanager
def _said(first_s: float = SAY_S) -> Iterator[None]:
    """Say that the device is waited for, while the block takes long."""
    started, is_over, context = time.monotonic(), Event(), copy_context()

    def tell() -> None:
        seconds = first_s
        while not is_over.wait(seconds):
            waited = time.monotonic() - started
            progress.current().say(f"waits for the device, which another run has: {waited:.0f} s")
            seconds = AGAIN_S

    thread = Thread(target=context.run, args=(tell,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def ensure_limit() -> None:
    """Create the limit of one job on the device where the server has none."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another process was first
                client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


def free_leaked(workspace: Workspace) -> None:
    """Give back the slot of a killed run at once, on the workspace's own server.

    Nobody holds the kernel's lock: nobody is at work, whatever the server still counts. Without
    this the next run would wait for the killed one's lease to end, a minute or more.
    """
    freed = GlobalConcurrencyLimitUpdate(active_slots=0)
    with suppress(LedgerBusy), file_lock(workspace.root / LOCK, wait_s=0):
        with get_client(sync_client=True) as client:
            client.update_global_concurrency_limit(LIMIT, freed)


def is_in_use(workspace: Workspace) -> bool:
    """Whether somebody holds the kernel's lock of the device."""
    try:
        with (workspace.root / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
