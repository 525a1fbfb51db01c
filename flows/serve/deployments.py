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
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.serve.reach import choices
from flows.serve.server import POOL
from storage.code import ROOT
from storage.errors import InputError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

FILE = ROOT / "prefect.yaml"
NAME = "local"  # of every deployment
MAX_CHARS = 20_000
TIMEZONE = "SOLON_TIMEZONE"
# Starts a flow run so that it dies with its worker. The worker's PATH says which Python that is.
COMMAND = "python -P -m flows.serve.serving run"

Json = dict[str, Any]


def apply_all() -> list[str]:
    """Make the pool and every deployment, or bring them up to date; returns their names.

    What people set in the UI stays as they left it: schedules, parameters, the pool's limit.
    Raises InputError for an unknown time zone.
    """
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    with get_client(sync_client=True) as client:
        ensure_pool(client)
        return [_apply(client, spec, content["pull"]) for spec in content["deployments"]]


def scheduled() -> list[str]:
    """A line for every deployment that has schedules: when it runs by itself and with what."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    flows = [s["entrypoint"].rpartition(".")[2] for s in content["deployments"] if "schedules" in s]
    with get_client(sync_client=True) as client:
        found = [client.read_deployment_by_name(f"{flow}/{NAME}") for flow in flows]
    return [f"{flow:<10}{_when(one)}" for flow, one in zip(flows, found, strict=True)]


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


def ensure_pool(client: SyncPrefectClient) -> None:
    """The process pool, whose flow runs are started by COMMAND."""
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        template = _with_command(ProcessWorker.get_default_base_job_template())
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        )
        return
    template = _with_command(pool.base_job_template)
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _with_command(template: Json) -> Json:
    variables = template["variables"]
    command = variables["properties"]["command"] | {"default": COMMAND}
    properties = variables["properties"] | {"command": command}
    return template | {"variables": variables | {"properties": properties}}


def _apply(client: SyncPrefectClient, spec: Json, pull: list[Json]) -> str:
    flow: Flow[..., Any] = load_flow_from_entrypoint(spec["entrypoint"], use_placeholder_flow=False)
    name = f"{flow.name}/{spec['name']}"
    schema = guarded(parameter_schema(flow).model_dump(exclude_unset=True))
    body = _body(spec, pull) | {"parameter_openapi_schema": schema}
    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        made = [DeploymentScheduleCreate(**one, active=on) for one, on in _schedules(spec, {})]
        flow_id = client.create_flow_from_name(flow.name)
        client.create_deployment(flow_id, spec["name"], schedules=made, **body)
    else:
        kept = {one.slug: one.schedule for one in found.schedules}
        is_chosen = _chosen_recipe(found) is not None
        updates = [
            # Left as people set it, but never on with a recipe that nobody chose.
            DeploymentScheduleUpdate(**one, **({} if on or is_chosen else {"active": False}))
            for one, on in _schedules(spec, kept)
        ]
        body["parameters"] |= found.parameters
        client.update_deployment(found.id, DeploymentUpdate(schedules=updates, **body))
    return name


def _body(spec: Json, pull: list[Json]) -> Json:
    """One entry of the file in the API's words, without its schedules."""
    limit = spec.get("concurrency_limit") or {}
    strategy = limit.get("collision_strategy")
    options = strategy and ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(strategy))
    return {
        "entrypoint": spec["entrypoint"],
        "description": spec.get("description"),
        "tags": spec.get("tags", []),
        "parameters": dict(spec.get("parameters", {})),
        "work_pool_name": spec["work_pool"]["name"],
        "job_variables": spec["work_pool"].get("job_variables", {}),
        "pull_steps": pull,
        "concurrency_limit": limit.get("limit"),
        "concurrency_options": options,
        "enforce_parameter_schema": True,
    }


def _schedules(spec: Json, kept: dict[str | None, Any]) -> list[tuple[Json, bool]]:
    """A deployment's schedules: as kept, else as in the file; and whether the file has them on.

    In the zone that SOLON_TIMEZONE names, where it names one.
    """
    zone, found = os.environ.get(TIMEZONE), []
    for one in spec.get("schedules", []):
        given = CronSchedule(cron=one["cron"], timezone=one["timezone"])
        schedule = kept.get(one["slug"], given)
        if zone and hasattr(schedule, "timezone"):
            _check_zone(zone)
            schedule = schedule.model_copy(update={"timezone": zone})
        found.append(({"slug": one["slug"], "schedule": schedule}, one.get("active", True)))
    return found


def _check_zone(zone: str) -> None:
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        rule = "no time zone has this name"
        raise InputError(zone, rule, "as UTC or Europe/Berlin", TIMEZONE) from None


def guarded(schema: Json) -> Json:
    """A flow's schema with what the server is to refuse before there is a run.

    Unknown keys, a recipe or constitution that is not among `choices`, and texts of more than
    MAX_CHARS characters, also within an object of any keys.
    """
    return _limited(schema, choices()) | {"additionalProperties": False}


def _limited(schema: Json, names: dict[str, list[str]]) -> Json:
    found = dict(schema)
    if found.get("type", "string") == "string" and not found.keys() & {"anyOf", "$ref", "enum"}:
        found.setdefault("maxLength", MAX_CHARS)  # of any type: it has a meaning for texts only
    for key in ("properties", "definitions", "$defs"):
        if key in found:
            parts = {name: _limited(part, names) for name, part in found[key].items()}
            if key == "properties":
                parts = {n: _chosen(p, names[n]) if n in names else p for n, p in parts.items()}
            found[key] = parts
    for key in ("anyOf", "allOf", "oneOf", "prefixItems"):
        if key in found:
            found[key] = [_limited(part, names) for part in found[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _limited(found[key], names)
    return found


def _chosen(schema: Json, values: list[str]) -> Json:
    """The schema of a text, or of a text or null, with the values that it may have."""
    if schema.get("type") == "string":
        return schema | {"enum": values}
    parts = [_chosen(part, values) for part in schema.get("anyOf", [])]
    return schema | ({"anyOf": parts} if parts else {})
