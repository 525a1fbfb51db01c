"""The Prefect server of a workspace: on loopback, with a login, and dead when its parent is.

A run needs no server that someone started. It uses that of `solon serve` where one runs in its
workspace; else it starts one for itself on a free port, over the same database, so that the run
appears in the workspace's UI later. `PREFECT_API_URL` in the environment names a server to use
instead.
"""

from __future__ import annotations

import base64
import errno
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flows.run.keeper import Server, answers, end, kept_up
from flows.run.killed import is_alive
from flows.serve.logs import bound
from storage.errors import SolonError
from storage.lock import file_lock
from storage.workspace import Workspace
from tasks.process import environment as child_environment
from tasks.worker import die_with_parent

HOST = "127.0.0.1"
PLACE = "serve.json"  # in Prefect's folder: where `solon serve` serves, while it does
START_WAIT_S = 120.0
DRAIN_WAIT_S = 10.0
ROOM = 4 << 20  # bytes: its empty database, and what SQLite writes beside it
HEARTBEAT_S = 30  # of a flow run, the shortest there is; automations.py counts on it
POOL = "solon"
TAG = "solon"  # on every flow run, so that automations on a shared server touch no others
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
# How flow runs and the worker behave, whoever's server they use.
RUNS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    # Without a "Finished in state Completed()" for each task; failures are errors, so still said.
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING",
    "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
    "PREFECT_WORKER_QUERY_SECONDS": "3",  # how often it asks for runs to start
}
# Loops a server needs only while it schedules; a run's own server goes without them.
SCHEDULING = ("SCHEDULER", "LATE_RUNS", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "FOREMAN")


def login(workspace: Workspace) -> str:
    """The workspace's `user:password`; drawn once and kept where only the user can read it."""
    path = workspace.prefect / "login"
    workspace.make_root()
    workspace.prefect.mkdir(exist_ok=True)
    with file_lock(workspace.prefect / "login.lock", START_WAIT_S, "solon"):
        if not (path.exists() and path.read_text().strip()):
            path.unlink(missing_ok=True)  # left empty by a process that was killed
            path.touch(0o600)
            path.write_text(f"solon:{secrets.token_urlsafe(18)}")
        return path.read_text().strip()


def environment(workspace: Workspace, port: int, is_scheduling: bool) -> dict[str, str]:
    """What server and clients of this workspace are told. Set before prefect is imported."""
    url, secret = f"http://{HOST}:{port}", login(workspace)
    settings = RUNS | {
        "DO_NOT_TRACK": "1",
        **_past_any_proxy(),
        "PREFECT_HOME": str(workspace.prefect),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_UI_API_URL": "/api",  # of wherever the page was had: localhost, a tunnel
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    if not is_scheduling:
        settings |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in SCHEDULING}
    return settings


def _past_any_proxy() -> dict[str, str]:
    """This machine, and what else is not reached through a proxy, in both spellings: where both
    are set, libraries read the small one only.
    """
    names = ("no_proxy", "NO_PROXY")
    direct = [HOST, "localhost", *(os.environ.get(name) for name in names)]
    return dict.fromkeys(names, ",".join(dict.fromkeys(filter(None, direct))))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(workspace: Workspace, meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A server for the time of the block. `meanwhile`: what to do while one starts."""
    given = os.environ.get("PREFECT_API_URL")
    with ExitStack() as stack:
        if given:
            for name, value in RUNS.items():
                os.environ.setdefault(name, value)
            _greet(given)
        else:
            stack.callback(os.environ.pop, "PREFECT_API_URL", None)
            if port := served_port(workspace):
                os.environ.update(environment(workspace, port, is_scheduling=True))
            else:
                port = free_port()
                server = started(workspace, port, is_scheduling=False, meanwhile=meanwhile)
                process = stack.enter_context(server)
                stack.enter_context(kept_up(process, partial(_start, workspace, port)))
        stack.enter_context(_tagged_runs())
        yield


@contextmanager
def started(
    workspace: Workspace,
    port: int,
    is_scheduling: bool,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Server]:
    """A healthy server on `port`, with the limit of the device; ended with the block.

    Of several that start at once in a workspace one after the other does: two at a time would make
    the tables of a new database twice.
    """
    os.environ.update(environment(workspace, port, is_scheduling))
    with ExitStack() as stack:
        with file_lock(workspace.prefect / "start.lock", START_WAIT_S, "solon"):
            process = _start(workspace, port)
            stack.callback(end, process)
            from flows.run import slot  # imports prefect, which reads the environment then

            meanwhile()
            _wait_until_healthy(process, port, workspace.prefect / "server.log")
            slot.ensure_limit()
            slot.free_leaked(workspace)
        yield process


def served_port(workspace: Workspace) -> int | None:
    """The port of this workspace's `solon serve`; None where none answers to its login.

    The login is not sent where that process is gone: after `kill -9` the port may be a stranger's.
    """
    path = workspace.prefect / PLACE
    try:
        place = json.loads(path.read_text(encoding="utf-8"))
        port, written = int(place["port"]), datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if not is_alive(int(place["pid"]), written):
            return None
        secret = base64.b64encode(login(workspace).encode()).decode()
        header = {"Authorization": f"Basic {secret}"}
        request = urllib.request.Request(f"http://{HOST}:{port}/api/admin/version", headers=header)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=2).close()
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None
    return port


@contextmanager
def _tagged_runs() -> Iterator[None]:
    """Tag the flow runs of the block; at its end let Prefect's senders finish."""
    from prefect import tags

    try:
        with tags(TAG):
            yield
    finally:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        for sender in (APILogWorker, EventsWorker):
            sender.drain_all(timeout=DRAIN_WAIT_S)


def _greet(url: str) -> None:
    """Make a server that someone named ready for a run. SolonError where there is none."""
    from flows.run import slot

    try:
        slot.ensure_limit()
    except Exception as error:
        why = f"no Prefect server to use there: {error or type(error).__name__}"
        raise SolonError(f"PREFECT_API_URL={url}: {why}") from error


def _start(workspace: Workspace, port: int) -> Server:
    arguments = ("flows.serve.server", str(os.getpid()), str(port))
    return spawn(workspace, "server", *arguments, cwd=workspace.prefect)


def spawn(workspace: Workspace, name: str, *arguments: str, cwd: Path) -> Server:
    """Start `python -m ARGUMENTS`; what it says goes to the file NAME.log of Prefect's folder.

    It has a session of its own: Ctrl-C is for us, who may still need it.
    """
    bound(path := workspace.prefect / f"{name}.log")
    with path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            start_new_session=True,
            env=child_environment(),
        )


def _wait_until_healthy(process: Server, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_WAIT_S
    while not answers(os.environ["PREFECT_API_URL"]):
        if process.poll() is not None or time.monotonic() > deadline:
            if shutil.disk_usage(log.parent).free < ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log.parent))
            raise SolonError(f"the Prefect server did not start on port {port}: see {log}")
        time.sleep(0.1)


def main(parent: str, port: str) -> None:
    """Become the server: this process is replaced and still dies with its parent."""
    die_with_parent(int(parent))
    command = [sys.executable, "-m", "uvicorn", "--factory", "flows.serve.pages:create_app"]
    options = ["--host", HOST, "--port", port, "--log-level", "warning"]
    options += ["--timeout-keep-alive", "10", "--timeout-graceful-shutdown", "5"]
    os.execv(sys.executable, [*command, *options])


if __name__ == "__main__":
    main(*sys.argv[1:3])
