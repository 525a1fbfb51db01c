"""From a command to a flow: a server for the time of the run, and the flow in this process."""

from __future__ import annotations

import importlib
import os
from typing import Any

import typer

from flows.commands.options import err
from flows.commands.ran_out import check_addresses
from storage.workspace import Workspace

MODULES = {
    "preview": "flows.trials",
    "ablate": "flows.trials",
    "more_prompts": "flows.more_prompts",
    "amend": "flows.amend",
    "nightly": "flows.nightly",
}


def run_flow(flow: str, parameters: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    from flows.run import progress
    from flows.run.console import BarProgress
    from flows.serve import server

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    check_addresses()
    workspace.create()
    bar = BarProgress(err)
    progress.use(bar)
    name = MODULES.get(flow, "flows.align")
    with server.running(workspace, meanwhile=lambda: importlib.import_module(name)):
        module = importlib.import_module(name)
        from prefect.exceptions import CancelledRun  # not before the server's address is set

        from flows.serve.ending import STOPPED

        try:
            return dict(getattr(module, flow)(**parameters))
        except (KeyboardInterrupt, CancelledRun):
            bar.close()
            bar.say(STOPPED)
            raise typer.Exit(130) from None
        finally:
            bar.close()
