"""A child process that runs flows over a server of its own, one JSON line a run.

In: {"flow", "parameters", "answer": run input or null, "write": [path, text]}.
A flow that waits is answered through the API, as the UI would; `write` happens just before.
Out: {"state", "result" or "error", "description", "artifacts": {key: data}, "name",
"waited": state while it waited}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from storage.workspace import Workspace

WAIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]


def answer_when_paused(command: dict[str, Any], seen: dict[str, Any]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    deadline = time.monotonic() + WAIT_S
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            for run in client.read_flow_runs():
                if run.state is None or not run.state.is_paused():
                    continue
                keys = run.state.state_details.run_input_keyset or {}
                try:
                    seen["description"] = client.read_flow_run_input(run.id, keys["description"])
                except (KeyError, ObjectNotFound, PrefectHTTPStatusError):
                    continue  # the form is not there yet
                if command.get("write"):
                    Path(command["write"][0]).write_text(command["write"][1], encoding="utf-8")
                seen["waited"] = run.state.name
                found = client.resume_flow_run(run.id, run_input=command["answer"])
                seen["resumed"] = str(found.status)
                return
            time.sleep(0.2)
        seen["resumed"] = "never paused"


def artifacts_of(flow_run_id: Any) -> dict[str, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=only)
        return {(one.key or "").removeprefix("smoke-"): one.data for one in found}


def run(command: dict[str, Any]) -> dict[str, Any]:
    from prefect.client.orchestration import get_client

    from flows.commands.running import MODULES

    name = command["flow"]
    found = getattr(importlib.import_module(MODULES.get(name, "flows.align")), name)
    seen: dict[str, Any] = {"description": None}
    thread = threading.Thread(target=answer_when_paused, args=(command, seen), daemon=True)
    if command.get("answer") is not None:
        thread.start()
    state = found(**command["parameters"], return_state=True)
    if command.get("answer") is not None:
        thread.join()
    out = seen | {"state": state.name}
    value = state.result(raise_on_failure=False)
    out |= {"error": str(value)} if isinstance(value, Exception) else {"result": value}
    with get_client(sync_client=True) as client:
        out["name"] = client.read_flow_run(state.state_details.flow_run_id).name
    return out | {"artifacts": artifacts_of(state.state_details.flow_run_id)}


def main() -> None:
    from flows.serve import server

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints goes elsewhere
    with server.running(Workspace.open().create()):
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line)), default=str), file=out, flush=True)


if __name__ == "__main__":
    main()
