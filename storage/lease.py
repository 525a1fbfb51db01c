"""One machine at a time, where a lock may not keep two apart: a workspace on a network file system.

There `flock` may hold between the processes of one machine only, and nothing says so. A machine
that opens the ledger leaves its name beside it and renews it; another one finds it, waits, and is
told which machine it is. A name that nobody renewed for two minutes is nobody's.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.durable import replace_text
from storage.errors import LedgerBusy

LEASE_S = 120.0
RENEW_S = 10.0
SETTLE_S = 1.0  # between a claim and the look whether another made one at the same moment
POLL_S = 0.5
NETWORKED = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph glusterfs lustre gpfs beegfs pvfs2 orangefs ocfs2 gfs2"
    " fuse.sshfs fuse.s3fs fuse.gcsfuse fuse.rclone fuse.glusterfs fuse.ceph fuse.juicefs".split()
)
"""File systems that several machines may have mounted, as /proc/self/mountinfo calls them."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
MOUNTS = Path("/proc/self/mountinfo")


def network_type(folder: Path) -> str:
    """What a folder's file system is called where it is a network's, else ""."""
    try:
        return _type_of(os.stat(folder).st_dev)
    except OSError:
        return ""


@functools.cache
def _type_of(device: int) -> str:
    with MOUNTS.open(encoding="utf-8", errors="replace") as lines:
        found = type_of(f"{os.major(device)}:{os.minor(device)}", lines)
    return found if found in NETWORKED else ""


def type_of(device: str, mounts: Iterable[str]) -> str:
    """The type of a device (major:minor) by the lines of /proc/self/mountinfo; "" if not there.

    A line: id, parent, major:minor, root, mount point, options, any tags, "-", type, and more.
    """
    for line in mounts:
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [device]:
            return after.split()[0]
    return ""


@functools.cache
def machine() -> str:
    """What this machine is until it is started anew; containers on it are the same machine."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def hold(path: Path, wait_s: float) -> None:
    """Have this machine's name in `path`, where its folder is on a network's file system.

    Raises LedgerBusy where another machine's has been there for `wait_s` seconds.
    """
    kind = network_type(path.parent)
    if not kind:
        return
    deadline = time.monotonic() + wait_s
    while (held := _held(path)) != machine():
        if held is None:
            note = {"machine": machine(), "host": socket.gethostname()}
            replace_text(path, json.dumps(note))
            time.sleep(SETTLE_S)
        elif time.monotonic() >= deadline:
            what = f"used by {_host(path)} within the last {LEASE_S:g} s"
            why = f"on {kind} locks may not keep machines apart: run on one at a time"
            raise LedgerBusy(f"{path.parent}: {what}; {why}")
        else:
            time.sleep(POLL_S)
    if _now(path) - path.stat().st_mtime > RENEW_S:
        os.utime(path)


@contextmanager
def renewed(path: Path) -> Iterator[None]:
    """Within the block a name in `path` stays this machine's: for what may take over LEASE_S."""
    if not network_type(path.parent):
        yield
        return
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(RENEW_S):
            with suppress(FileNotFoundError):
                os.utime(path)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        keeper.join()


def _held(path: Path) -> str | None:
    """The machine whose name stands there; None where it was not renewed, or there is none."""
    try:
        found = str(json.loads(path.read_text(encoding="utf-8"))["machine"])
        if _now(path) - path.stat().st_mtime < LEASE_S:  # one's own, too: another may claim it now
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _host(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another machine"


def _now(path: Path) -> float:
    """The time by the file system's own clock, which is another machine's."""
    probe = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
