"""Deployments were all named `local` before each was named by what it does: such a one moves once.

Prefect cannot rename a deployment, so the new one is made of the old. This file can go once no
workspace has a Prefect database from before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

OLD = "local"


def find(
    client: SyncPrefectClient, flow: str, name: str, body: dict[str, Any]
) -> DeploymentResponse | None:
    """The deployment `flow/name`, made of `flow/local` where there is one; None without both.

    body: what a new one is besides what it takes over: schedules, parameters, the pause, and nights
    that are due. An old one with a run under way, or waiting for an answer, stays and is returned,
    as that run needs it: it moves at a later start. The old one is deleted last, so that the next
    start makes good one that was killed.
    """
    old = _read(client, flow, OLD)
    if old is None:
        return _read(client, flow, name)
    unfinished = {"type": {"not_any_": list(TERMINAL_STATES)}}
    wanted = {"deployment_id": {"any_": [old.id]}, "state": unfinished}
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
    if not all(map(_has_not_begun, runs)):
        return old
    schedules = [
        DeploymentScheduleCreate(
            schedule=one.schedule, active=one.active, parameters=one.parameters, slug=one.slug
        )
        for one in old.schedules
    ]
    body = body | {"parameters": body["parameters"] | old.parameters, "paused": old.paused}
    new = client.create_deployment(old.flow_id, name, schedules=schedules, **body)
    for run in runs:
        if run.expected_start_time and run.expected_start_time <= datetime.now(UTC):
            client.create_flow_run_from_deployment(
                new, parameters=run.parameters, idempotency_key=str(run.id)
            )
    client.delete_deployment(old.id)
    return client.read_deployment(new)


def _read(client: SyncPrefectClient, flow: str, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{flow}/{name}")
    except ObjectNotFound:
        return None


def _has_not_begun(run: FlowRun) -> bool:
    """Whether a schedule made the run and nobody was at it."""
    return run.auto_scheduled and not run.run_count and run.state_type == "SCHEDULED"
