"""`solon serve`: one command for all of a workspace: server, work pool, deployments and worker.

    solon serve ─┬─ server              flows/serve/server.py
                 └─ worker ─┬─ flow run ── tasks.worker (torch)
                            └─ flow run

Everything dies with what started it, `kill -9` included. Server and worker have sessions of their
own: Ctrl-C reaches `solon serve` alone, which ends the flow runs, the worker, then the server.
Worker and all that it started are one process group. Where server or worker ends by itself
`solon serve` ends too, with exit code 1: to start it again is up to systemd and the like.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console

from flows.run import killed
from flows.serve import logs, server
from storage.durable import replace_text
from storage.errors import InputError, LedgerBusy, SolonError
from storage.lock import file_lock
from storage.workspace import Workspace
from tasks.worker import die_with_parent

POLL_S = 0.2
FOLLOW_S = 15.0  # between two looks at what the forms offer
END_RUNS_S = 5.0  # with the two below and the server's, within 15 seconds
END_WORKER_S = 2.0
STOPPED = "solon serve was stopped"


def serve_until_stopped(workspace: Workspace, port: int, console: Console) -> None:
    """Serve until Ctrl-C or SIGTERM. Where the workspace is served already, say where and return.

    Raises InputError where another program has the port, SolonError where server or worker dies.
    """
    workspace.make_root()
    workspace.prefect.mkdir(exist_ok=True)
    path = workspace.prefect / server.PLACE
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        if not _is_first(workspace, stack):
            place = json.loads(path.read_text(encoding="utf-8"))
            console.print(f"running already, process {place['pid']}", highlight=False)
            _say(workspace, place, console)
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        path.unlink(missing_ok=True)  # of one that was killed
        _serve(workspace, port, console)


def _is_first(workspace: Workspace, stack: ExitStack) -> bool:
    """Whether this process got the lock, which `stack` then holds; else another one serves."""
    deadline = time.monotonic() + server.START_WAIT_S
    while time.monotonic() < deadline:
        with suppress(LedgerBusy):
            stack.enter_context(file_lock(workspace.prefect / "serve.lock", 0, "solon serve"))
            return True
        if (workspace.prefect / server.PLACE).exists():
            return False
        time.sleep(POLL_S)  # it is starting, or about to end
    raise SolonError(f"{workspace.prefect}/serve.lock: held by a process that does not get ready")


def _serve(workspace: Workspace, port: int, console: Console) -> None:
    binaries = str(Path(sys.executable).parent)  # where the worker finds its Python
    os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    os.environ["SOLON_HOME"] = str(workspace.root)
    with _server(workspace, port) as watched:
        try:
            place = _keep_place(workspace, port if watched else None)
            from flows.serve import automations, deployments

            scheduled = deployments.apply_all()
            for line in [*automations.ensure(), *scheduled]:
                console.print(line, highlight=False, markup=False)
            with _worker(workspace) as worker:
                _say(workspace, place, console)
                _watch(workspace, watched | {"worker": worker})
        finally:  # no second Ctrl-C may interrupt what follows
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (workspace.prefect / server.PLACE).unlink(missing_ok=True)


@contextmanager
def _server(workspace: Workspace, port: int) -> Iterator[dict[str, server.Server]]:
    """A server of our own unless PREFECT_API_URL names one; yields what is to be watched."""
    if "PREFECT_API_URL" in os.environ:
        with server.running(workspace):
            yield {}
        return
    _check_port(port)
    with server.started(workspace, port, is_scheduling=True) as process:
        yield {"server": process}


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.HOST, port))
        except OSError:
            rule = "another program listens on this port"
            raise InputError(port, rule, "end it or give another with --port", "--port") from None


@contextmanager
def _worker(workspace: Workspace) -> Iterator[server.Server]:
    """Prefect's worker of our pool; at the end of the block it and its flow runs are ended."""
    arguments = ("flows.serve.serving", "worker", str(os.getpid()))
    process = server.spawn(workspace, "worker", *arguments, cwd=workspace.root)
    try:
        yield process
    finally:
        _end_worker(process)


def _watch(workspace: Workspace, processes: dict[str, server.Server]) -> None:
    """Return never: raises SolonError once one of the processes has ended. Forms follow the files:
    what is new in recipes and constitutions is offered in a while. Logs stay within bounds.
    """
    from flows.serve import deployments
    from flows.serve.reach import choices

    offered, looked = choices(), time.monotonic()
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                log = workspace.prefect / f"{name}.log"
                raise SolonError(f"the {name} ended, exit code {process.returncode}: see {log}")
        if time.monotonic() - looked > FOLLOW_S:
            looked = time.monotonic()
            for name in processes:
                logs.bound(workspace.prefect / f"{name}.log")
            if (now := choices()) != offered:
                offered = now
                deployments.apply_all()
        time.sleep(POLL_S)


def _end_worker(worker: server.Server) -> None:
    """End the flow runs, tell Prefect that they are cancelled, then end the worker.

    What the group still has after that is killed.
    """
    found = (killed.environment_value(p, "PREFECT__FLOW_RUN_ID") for p in _group(worker.pid))
    flow_runs = {run for run in found if run}
    _set_state("Cancelling", flow_runs)
    deadline = time.monotonic() + END_RUNS_S
    while time.monotonic() < deadline and _group(worker.pid) - {worker.pid}:
        time.sleep(POLL_S)
    worker.terminate()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(END_WORKER_S)
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    _set_state("Cancelled", flow_runs)


def _set_state(name: str, flow_runs: set[str]) -> None:
    """Set the state of the runs that are not over, nor suspended: only their processes are left.

    What the server does not take is left to `solon doctor`.
    """
    from prefect import states
    from prefect.client.orchestration import get_client

    state = getattr(states, name)(message=STOPPED)
    with suppress(Exception), get_client(sync_client=True) as client:
        for run in flow_runs:
            now = client.read_flow_run(UUID(run)).state
            if now is None or not (now.is_final() or now.is_paused()):
                client.set_flow_run_state(UUID(run), state, force=True)


def _group(leader: int) -> set[int]:
    """The living processes of a process group (Linux; elsewhere none are seen)."""
    return {pid for pid in killed.processes() if killed.stat(pid)[2:3] == [str(leader)]}


def _keep_place(workspace: Workspace, port: int | None) -> dict[str, Any]:
    """Write down where this workspace is served. No port: by a server that is not ours."""
    place = {"pid": os.getpid(), "port": port, "url": os.environ["PREFECT_API_URL"]}
    replace_text(workspace.prefect / server.PLACE, json.dumps(place))
    return place


def _say(workspace: Workspace, place: dict[str, Any], console: Console) -> None:
    """Where the UI is; the login only of a server of our own."""
    lines = [f"UI        {place['url'].removesuffix('/api')}"]
    if place["port"]:
        lines.append(f"login     {server.login(workspace)}")
    for line in [*lines, "stop      Ctrl-C"]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def main(role: str, parent: str = "") -> None:
    """Become Prefect's "worker" or a flow "run": replaced, and dead when its parent is."""
    die_with_parent(int(parent or os.getppid()))
    worker = ["prefect", "worker", "start", "--pool", server.POOL, "--type", "process"]
    worker += ["--name", f"solon-{platform.node()}"]
    words = worker if role == "worker" else ["prefect.engine"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
