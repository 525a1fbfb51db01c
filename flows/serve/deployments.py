"""The deployments that prefect.yaml lists, and the pool they run in, made through Prefect's API.

`solon serve` makes them; `prefect deploy --all` makes the same from the same file, but for two
things that it has no words for: the names a form offers, and the limits below on what it takes.
"""

from __future__ import annotations

import os
import zoneinfo
from typing import TYPE_CHECKING, Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.serve import renamed
from flows.serve.offered import likely_recipe
from flows.serve.schema import Json, filled_in, guarded
from flows.serve.server import POOL
from storage.code import ROOT
from storage.errors import InputError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

FILE = ROOT / "prefect.yaml"
TIMEZONE = "SOLON_TIMEZONE"
# Starts a flow run so that it dies with its worker. The worker's PATH says which Python that is.
COMMAND = "python -P -m flows.serve.serving run"


def apply_all() -> list[str]:
    """Make the pool and every deployment, or bring them up to date.

    What people set in the UI stays as they left it: schedules, parameters, the pool's limit.
    Returns a line for each that the file gives a schedule: when it runs by itself and with what.
    Raises InputError for an unknown time zone.
    """
    zone, content = _zone(), yaml.safe_load(FILE.read_text(encoding="utf-8"))
    lines = []
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        for spec in content["deployments"]:
            found = _apply(client, spec, content["pull"])
            if "schedules" in spec:
                _schedule(client, found, spec["schedules"], zone)
                flow = spec["entrypoint"].rpartition(".")[2]
                lines.append(f"{flow:<10}{_when(client.read_deployment(found.id))}")
    return lines


def _zone() -> str | None:
    """The time zone of the nights, where SOLON_TIMEZONE names one."""
    zone = os.environ.get(TIMEZONE)
    if zone:
        try:
            zoneinfo.ZoneInfo(zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            rule = "no time zone has this name"
            raise InputError(zone, rule, "as UTC or Europe/Berlin", TIMEZONE) from None
    return zone


def _ensure_pool(client: SyncPrefectClient) -> None:
    try:
        template = client.read_work_pool(POOL).base_job_template
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        client.create_work_pool(pool)
    template["variables"]["properties"]["command"]["default"] = COMMAND
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _apply(client: SyncPrefectClient, spec: Json, pull: list[Json]) -> DeploymentResponse:
    """One entry of the file, without its schedules."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(spec["entrypoint"], use_placeholder_flow=False)
    limit = dict(spec.get("concurrency_limit", {}))
    preset = None if "schedules" in spec else likely_recipe()
    schema = guarded(parameter_schema(flow).model_dump(exclude_unset=True), preset)
    body = {
        "entrypoint": spec["entrypoint"],
        "description": spec["description"],
        "tags": spec["tags"],
        "parameters": spec["parameters"] | filled_in(schema),
        "work_pool_name": spec["work_pool"]["name"],
        "pull_steps": pull,
        "concurrency_limit": limit.pop("limit", None),
        "concurrency_options": ConcurrencyOptions(**limit) if limit else None,
        "enforce_parameter_schema": True,
        "parameter_openapi_schema": schema,
    }
    found = renamed.find(client, flow.name, spec["name"], body)
    if found is None:
        flow_id = client.create_flow_from_name(flow.name)
        return client.read_deployment(client.create_deployment(flow_id, spec["name"], **body))
    body["parameters"] = body["parameters"] | found.parameters
    client.update_deployment(found.id, DeploymentUpdate(**body))
    return found


def _schedule(
    client: SyncPrefectClient, found: DeploymentResponse, specs: list[Json], zone: str | None
) -> None:
    """Make the file's schedules where they are missing; set the zone of those that are there.

    They are left as people set them, but never on with a recipe that nobody chose.
    """
    kept = {one.slug: one for one in found.schedules}
    for spec in specs:
        one = kept.get(spec["slug"])
        when = one.schedule if one else CronSchedule(cron=spec["cron"], timezone=spec["timezone"])
        if zone and hasattr(when, "timezone"):
            when = when.model_copy(update={"timezone": zone})
        if one:
            is_on = one.active and _chosen_recipe(found) is not None
            client.update_deployment_schedule(
                found.id,
                one.id,
                active=is_on,
                schedule=when,
                parameters=one.parameters,  # without them the server drops those it has
            )
        else:
            new = DeploymentScheduleCreate(slug=spec["slug"], schedule=when, active=spec["active"])
            client.create_deployment_schedules(found.id, [new])


def _when(found: DeploymentResponse) -> str:
    active = [one.schedule for one in found.schedules if one.active]
    if not active:
        return "off: in the UI choose its recipe and switch its schedule on"
    times = ", ".join(
        f"{s.cron} {s.timezone}" if isinstance(s, CronSchedule) else "on, as the UI shows"
        for s in active
    )
    return f"{times}, recipe {_chosen_recipe(found) or 'demo'}"


def _chosen_recipe(found: DeploymentResponse) -> str | None:
    """The recipe that somebody set for a schedule or for the deployment."""
    settings = [*(one.parameters or {} for one in found.schedules), found.parameters]
    return next((str(one["recipe"]) for one in settings if "recipe" in one), None)
