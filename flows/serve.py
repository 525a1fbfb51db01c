"""`solon serve`: Prefect's server and UI over this workspace, with its flows to trigger."""

from __future__ import annotations

import os
import socket
from typing import cast

from rich.console import Console

from flows import server
from storage.errors import InputError
from storage.workspace import Workspace


def serve_until_stopped(workspace: Workspace, port: int, console: Console) -> None:
    """Start the server, offer the flows, wait. Ctrl-C ends the server and every run it started."""
    _check_port(port)
    os.environ["SOLON_HOME"] = str(workspace.root)
    os.environ.pop("PREFECT_API_URL", None)
    with server.running(workspace, port):
        from prefect import serve
        from prefect.deployments.runner import RunnerDeployment

        from flows.align import align, evaluate, refresh, train

        user, _, password = server.login(workspace).partition(":")
        console.print(f"UI        http://{server.HOST}:{port}", highlight=False)
        console.print(f"login     {user}:{password}", highlight=False, markup=False)
        console.print("stop      Ctrl-C", highlight=False)
        flows = (align, refresh, train, evaluate)
        deployments = [cast(RunnerDeployment, flow.to_deployment(name="local")) for flow in flows]
        serve(*deployments, limit=1)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.HOST, port))
        except OSError:
            rule = "another program listens on this port"
            raise InputError(port, rule, "end it or give another with --port", "--port") from None
