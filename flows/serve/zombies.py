"""The doctor's look at the workspace's Prefect server: runs and a slot whose process is gone."""

from __future__ import annotations

import os
import platform
import time
import urllib.parse
from typing import TYPE_CHECKING

from flows.run.keeper import answers
from flows.run.killed import is_alive
from flows.serve import server
from flows.serve.findings import Examination
from storage.workspace import Workspace

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NONE_UP = "no Prefect server is up: its flow runs and slots are not looked at"
PAGE = 200
SETTLE_S = 1.0  # between a slot and the kernel's lock, whose order nobody outside sees
LOCAL = (server.HOST, "localhost", "::1")
# This machine's last run in the ledger of each of the wanted flow runs.
LAST_RUNS = """
    SELECT r.flow_run_id, r.pid, r.started_at, r.state FROM runs r
    JOIN wanted USING (flow_run_id) WHERE r.host = ?
    QUALIFY row_number() OVER (PARTITION BY r.flow_run_id ORDER BY r.started_at DESC) = 1"""


def look(seen: Examination) -> None:
    """Flow runs of killed processes and a slot nobody uses. Imports prefect if a server is up."""
    url = _address(seen.workspace)
    if url is None or not answers(url):
        seen.skipped.append(f"{url} does not answer: {NONE_UP}" if url else NONE_UP)
        return
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            _flow_runs(seen, client)
            _slot(seen, client, url)
    except Exception as error:  # a client raises many kinds, and what was found so far counts
        seen.skipped.append(f"{url}: {' '.join(str(error).split())[:200] or type(error).__name__}")


def _address(workspace: Workspace) -> str | None:
    """The API of the server that PREFECT_API_URL names, else of the running `solon serve`.

    For the latter the environment gets what a client needs.
    """
    if not os.environ.get("PREFECT_API_URL"):
        port = server.served_port(workspace)
        if port is None:
            return None
        os.environ.update(server.environment(workspace, port, is_scheduling=True))
    return os.environ["PREFECT_API_URL"]


def _flow_runs(seen: Examination, client: SyncPrefectClient) -> None:
    from prefect.states import Crashed

    open_ = _open(client)
    wanted = {"flow_run_id": list(open_)}
    for row in seen.ledger.query(LAST_RUNS, [platform.node()], wanted):
        flow_run_id = row["flow_run_id"]
        is_between = row["state"] == "completed"  # resumed by another process, or about to go on
        if is_between or is_alive(row["pid"], row["started_at"]):
            continue
        detail = f"is {open_[flow_run_id]} in Prefect, but its process {row['pid']} is gone"
        if seen.found("flow run", flow_run_id, detail, "set to Crashed"):
            message = f"Its process {row['pid']} is gone (solon doctor)."
            client.set_flow_run_state(flow_run_id, Crashed(message=message), force=True)


def _open(client: SyncPrefectClient) -> dict[str, str]:
    """The name of the state of every flow run that is Running or Cancelling, by its id."""
    from prefect.client.schemas.filters import FlowRunFilter

    types = {"any_": ["RUNNING", "CANCELLING"]}
    wanted = FlowRunFilter.model_validate({"state": {"type": types}})
    found: dict[str, str] = {}
    while True:
        page = client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found))
        found |= {str(run.id): run.state_name or "open" for run in page}
        if len(page) < PAGE:
            return found


def _slot(seen: Examination, client: SyncPrefectClient, url: str) -> None:
    """Another machine's jobs count in a limit that it shares: only a local server's is freed."""
    from prefect.exceptions import ObjectNotFound

    from flows.run import slot

    def leaked() -> int:
        held = client.read_global_concurrency_limit_by_name(slot.LIMIT).active_slots
        return 0 if slot.is_in_use(seen.workspace) else held

    try:
        if not leaked():
            return
        time.sleep(SETTLE_S)
        count = leaked()
    except ObjectNotFound:
        return
    if urllib.parse.urlsplit(url).hostname not in LOCAL:
        seen.skipped.append(f"limit {slot.LIMIT}: {count} held, perhaps by another machine")
    elif count and seen.found("slot", slot.LIMIT, f"{count} held, but nobody is at work", "freed"):
        slot.free_leaked(seen.workspace)
