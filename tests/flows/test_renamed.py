"""Deployments that were named `local`: `solon serve` carries them over, and loses no night."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .served import NAMES, Served, until

pytestmark = pytest.mark.slow

NIGHT = {"cron": "30 3 * * *", "timezone": "Europe/Berlin"}
OWN = {"interval": 90_000.0}
CHOSEN = {"recipe": "smoke", "overrides": ["prompts.limit=-1"]}  # a night of it fails in seconds
CONTENT = ("flow_id", "parameters", "paused", "schedules", "tags", "entrypoint", "description")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    """Serve one workspace, again and again; what a test that fails leaves is killed."""
    found: list[Served] = []

    def serve() -> Served:
        found.append(Served(tmp_path / "home"))
        return found[-1]

    yield serve
    for served in found:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


def name_as_before(served: Served, flow: str, is_killed: bool = False, **facts: Any) -> str:
    """Put `flow/local` in the place of what there is now, as a commit before would; its id.

    is_killed: beside it, as a start leaves it that was killed on the way.
    """
    now = served.deployment(flow)
    wanted = ("flow_id", "entrypoint", "tags", "pull_steps", "work_pool_name", "parameters")
    body = {name: now[name] for name in (*wanted, "parameter_openapi_schema")}
    body |= {"name": "local", "enforce_parameter_schema": True} | facts
    if not is_killed:
        assert served.api(f"deployments/{now['id']}", method="DELETE")[0] == 204
    status, made = served.api("deployments/", body)
    assert status == 201, made
    return str(made["id"])


def names(served: Served) -> set[str]:
    return {d["name"] for d in served.api("deployments/filter", {})[1]}


def content(served: Served) -> dict[str, Any]:
    """What people set and see of every deployment, by name; schedules without their ids."""
    found = {}
    for one in served.api("deployments/filter", {})[1]:
        schedules = [
            (s["slug"], s["schedule"], s["active"], s["parameters"]) for s in one["schedules"]
        ]
        found[one["name"]] = one | {"schedules": sorted(schedules, key=str)}
    return {name: {key: one[key] for key in ("id", *CONTENT)} for name, one in found.items()}


def make_the_next_night_due(served: Served) -> None:
    """As where the machine was off at its time; while nothing is served."""
    with sqlite3.connect(served.solon.home / "prefect" / "prefect.db") as con:
        (first,) = con.execute(
            "SELECT id FROM flow_run WHERE auto_scheduled ORDER BY expected_start_time LIMIT 1"
        ).fetchone()
        con.execute(
            "UPDATE flow_run SET expected_start_time = '2026-01-01 02:00:00.000000',"
            " next_scheduled_start_time = '2026-01-01 02:00:00.000000' WHERE id = ?",
            [first],
        )
    con.close()


def test_deployments_named_local_are_carried_over(start: Callable[[], Served]) -> None:
    served = start()
    nightly = name_as_before(
        served,
        "nightly",
        parameters={"overrides": ["seed=3"]},
        schedules=[
            {"slug": "nightly", "schedule": NIGHT, "active": True, "parameters": CHOSEN},
            {"schedule": OWN, "active": False, "parameters": {"recipe": "demo"}},
        ],
    )
    name_as_before(served, "refresh", parameters={"overrides": ["seed=4"]}, paused=True)
    name_as_before(served, "train", is_killed=True, parameters={"overrides": ["seed=5"]})
    amend = name_as_before(served, "amend")
    asked = {"parameters": {}, "enforce_parameter_schema": False}  # its form was another
    waiting = served.api(f"deployments/{amend}/create_flow_run", asked)[1]["id"]
    state = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
    served.api(f"flow_runs/{waiting}/set_state", {"state": state, "force": True})
    until(served.nights, "the nights of the old deployment")
    served.stop()
    make_the_next_night_due(served)

    served = start()
    assert names(served) == set(NAMES.values()) - {NAMES["amend"]} | {"local"}
    assert served.state(waiting) == "PAUSED"
    found = content(served)["every-night"]
    assert found["parameters"] == {"overrides": ["seed=3"]}
    kept = {slug: (s, active, given) for slug, s, active, given in found["schedules"]}
    assert kept["nightly"][0]["cron"] == NIGHT["cron"]
    assert kept["nightly"][0]["timezone"] == NIGHT["timezone"]
    assert kept["nightly"][1:] == (True, CHOSEN)
    assert kept[None][0]["interval"] == OWN["interval"]
    assert kept[None][1:] == (False, {"recipe": "demo"})
    assert len(found["schedules"]) == 2
    assert "nightly   30 3 * * * Europe/Berlin, recipe smoke" in served.text
    refresh = content(served)["refresh-rows"]
    assert (refresh["parameters"], refresh["paused"]) == ({"overrides": ["seed=4"]}, True)
    assert content(served)["train-checkpoints"]["parameters"]["overrides"] == ["seed=5"]
    due = [run for run in served.runs() if run["deployment_id"] == found["id"]]
    assert [run["parameters"]["recipe"] for run in due] == ["smoke"]
    until(lambda: served.state(due[0]["id"]) == "FAILED", "the night that was due")
    nights = until(served.nights, "the nights of the new deployment")
    assert {run["deployment_id"] for run in nights} == {found["id"]} != {nightly}
    times = [run["expected_start_time"] for run in nights]
    assert len(times) == len(set(times))
    before = content(served)
    served.api(f"flow_runs/{waiting}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    served.stop()

    served = start()
    after = content(served)
    assert set(after) == set(NAMES.values())
    for name in set(before) - {"local"}:
        assert after[name] == before[name], name
    served.stop()
