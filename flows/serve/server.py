"""The Prefect server of a workspace: on loopback, with a login, and dead when its parent is.

A run needs no server that someone started. It uses that of `solon serve` where one runs in its
workspace; else it starts one for itself on a free port, over the same database, so that the run
appears in the workspace's UI later. `PREFECT_API_URL` in the environment names a server to use
instead.
"""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from flows.run.keeper import end, kept_up
from storage.errors import SolonError
from storage.lock import file_lock
from storage.workspace import Workspace
from tasks.worker import die_with_parent

HOST = "127.0.0.1"
START_WAIT_S = 120.0
DRAIN_WAIT_S = 10.0
HEARTBEAT_S = 30  # of a flow run, the shortest there is; automations.py counts on it
POOL = "solon"
TAG = "solon"  # on every flow run, so that automations on a shared server touch no others
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
# Loops a server needs only while it schedules; a run's own server goes without them.
SCHEDULING = ("SCHEDULER", "LATE_RUNS", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "FOREMAN")


def login(workspace: Workspace) -> str:
    """The workspace's `user:password`; drawn once and kept where only the user can read it."""
    path = workspace.prefect / "login"
    if not (path.exists() and path.read_text().strip()):
        workspace.prefect.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # left empty by a process that was killed
        draft = path.with_name(f"login-{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, f"solon:{secrets.token_urlsafe(18)}".encode())
        os.close(descriptor)
        with suppress(FileExistsError):  # another process was first: its login counts
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def environment(workspace: Workspace, port: int, is_scheduling: bool) -> dict[str, str]:
    """What server and clients of this workspace are told. Set before prefect is imported."""
    url, secret = f"http://{HOST}:{port}", login(workspace)
    settings = {
        "DO_NOT_TRACK": "1",
        "NO_PROXY": ",".join(filter(None, [HOST, os.environ.get("NO_PROXY")])),
        "PREFECT_HOME": str(workspace.prefect),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    if not is_scheduling:
        settings |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in SCHEDULING}
    return settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    workspace: Workspace, port: int | None = None, meanwhile: Callable[[], object] | None = None
) -> Iterator[str]:
    """A server for the time of the block; yields the address of its API.

    Without `port`: the server that `PREFECT_API_URL` names where it is set, else that of the
    workspace's `solon serve` where it runs, else one of its own. `meanwhile`: what to do while one
    starts.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given and port is None:
        os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_S))
        _greet(given)
        with _tagged_runs():
            yield given
        return
    served = served_port(workspace) if port is None else None
    try:
        if served:
            os.environ.update(environment(workspace, served, is_scheduling=True))
            with _tagged_runs():
                yield os.environ["PREFECT_API_URL"]
        else:
            own = port or free_port()
            with (
                started(workspace, own, port is not None, meanwhile) as process,
                kept_up(process, partial(_start, workspace, own)),
                _tagged_runs(),
            ):
                yield os.environ["PREFECT_API_URL"]
    finally:
        os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def started(
    workspace: Workspace,
    port: int,
    is_scheduling: bool,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A healthy server on `port`, with the limit of the device; ended with the block.

    Of several that start at once in a workspace one after the other does: two at a time would make
    the tables of a new database twice.
    """
    os.environ.update(environment(workspace, port, is_scheduling))
    with ExitStack() as stack:
        with file_lock(workspace.prefect / "start.lock", START_WAIT_S, "solon"):
            process = _start(workspace, port)
            stack.callback(end, process)
            slot = importlib.import_module("flows.run.slot")
            if meanwhile:
                meanwhile()
            _wait_until_healthy(process, port, workspace.prefect / "server.log")
            slot.ensure_limit()
            slot.free_leaked(workspace)
        yield process


def served_port(workspace: Workspace) -> int | None:
    """The port of this workspace's `solon serve`; None where none answers to its login."""
    try:
        port = json.loads((workspace.prefect / "serve.json").read_text(encoding="utf-8"))["port"]
    except (OSError, ValueError, KeyError):
        return None
    secret = base64.b64encode(login(workspace).encode()).decode()
    header = {"Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"http://{HOST}:{port}/api/admin/version", headers=header)
    return int(port) if port and _answers(request) else None


def _answers(request: urllib.request.Request) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=2):
            return True
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def _tagged_runs() -> Iterator[None]:
    """Tag the flow runs of the block; at its end let Prefect's senders finish."""
    from prefect import tags

    try:
        with tags(TAG):
            yield
    finally:
        _send_what_is_left()


def _greet(url: str) -> None:
    """Make a server that someone named ready for a run; SolonError where it does not answer."""
    slot = importlib.import_module("flows.run.slot")
    try:
        slot.ensure_limit()
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise SolonError(
            f"PREFECT_API_URL={url}: no Prefect server to use there: {reason}"
        ) from error


def _start(workspace: Workspace, port: int) -> subprocess.Popen[bytes]:
    with (workspace.prefect / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.serve.server", str(os.getpid()), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=workspace.prefect,
            start_new_session=True,  # Ctrl-C is for the run, which still needs its server
            env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        )


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_WAIT_S
    request = urllib.request.Request(f"http://{HOST}:{port}/api/health")
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(request):
            return
        time.sleep(0.1)
    raise SolonError(f"the Prefect server did not start on port {port}: see {log}")


def _send_what_is_left() -> None:
    """Let Prefect's background senders finish while there is a server to send to."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for sender in (APILogWorker, EventsWorker):
        sender.drain_all(timeout=DRAIN_WAIT_S)


def main(parent: str, port: str) -> None:
    """Become the server: this process is replaced and still dies with its parent."""
    die_with_parent(int(parent))
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    options = ["--host", HOST, "--port", port, "--log-level", "warning"]
    options += ["--timeout-keep-alive", "10", "--timeout-graceful-shutdown", "5"]
    os.execv(sys.executable, [*command, *options])


if __name__ == "__main__":
    main(*sys.argv[1:3])
