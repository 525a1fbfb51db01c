"""`solon serve`: one command starts everything, guards it, and ends all of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.serve.server import HOST, environment
from storage.ledger import Ledger
from storage.workspace import Workspace

from .conftest import ROOT
from .driven import TINY
from .served import (
    Served,
    as_form,
    flow_processes,
    servers,
    torch_workers,
    until,
)
from .test_kill import processes_of

pytestmark = pytest.mark.slow


def test_no_proxy_stands_before_this_machine(tmp_path: Path, monkeypatch: Any) -> None:
    """However the variable is spelt: libraries that read the small one read no other."""
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.delenv("NO_PROXY", raising=False)
    told = environment(Workspace(tmp_path).create(), 4200, is_scheduling=False)
    assert told["no_proxy"] == told["NO_PROXY"] == f"{HOST},localhost,intranet"


NAMES = {"align", "refresh", "train", "evaluate", "amend", "nightly"}
SCRIPTED = {"generation.engine": "scripted", "prompts.limit": 24}

# When each run of `wanted` generated, and when it trained.
DEVICE_USE = """
    SELECT flow_run_id, min(c.created_at) AS since, max(c.created_at) AS until
    FROM completions c JOIN runs USING (run_id) SEMI JOIN wanted USING (flow_run_id)
    WHERE c.step <> 'answer' GROUP BY ALL
    UNION ALL
    SELECT flow_run_id, c.created_at - to_microseconds((1e6 * duration_s)::BIGINT), c.created_at
    FROM checkpoints c JOIN runs USING (run_id) SEMI JOIN wanted USING (flow_run_id)"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve workspaces of one's own by name; what a test that fails leaves is killed."""
    found: list[Served] = []

    def serve(name: str, **environment: str) -> Served:
        found.append(Served(tmp_path / name, **environment))
        return found[-1]

    yield serve
    for served in found:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served(tmp_path_factory.mktemp("serve") / "home")
    yield found
    found.stop()
    assert processes_of(found.solon.home) == []


def test_the_api_wants_the_login(served: Served) -> None:
    assert served.send("deployments/filter", {}, {})[0] == 401
    assert served.api("deployments/filter", {}, login="solon:wrong")[0] == 401
    assert served.api("deployments/filter", {})[0] == 200


def test_the_ui_asks_the_server_it_came_from(served: Served) -> None:
    """Under `localhost` and a tunnel's port alike, where the login is asked for as well."""
    for host in (HOST, "localhost"):
        url = f"http://{host}:{served.port}/ui-settings"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as found:
            assert json.load(found)["api_url"] == "/api"


def test_a_page_of_another_origin_may_not_read_the_api(served: Served) -> None:
    def allowed(origin: str) -> str | None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        found: str | None = served.send("flow_runs/filter", asked, method="OPTIONS")[2].get(
            "Access-Control-Allow-Origin"
        )
        return found

    own = f"http://{HOST}:{served.port}"
    assert allowed(own) == own
    assert allowed("http://evil.example") is None
    assert allowed(f"http://{HOST}:1") is None


def asked(port: int, request: str, more: bytes = b"") -> bytes:
    """What a server says to a request sent as it stands, and to `more` once it has switched."""
    with socket.create_connection((HOST, port)) as link:
        link.settimeout(30)
        link.sendall(request.replace("\n", "\r\n").encode())
        said = link.recv(65536)
        if more and b" 101 " in said:
            link.sendall(more)
            said = link.recv(65536)
        return said


@pytest.mark.parametrize("host", ["evil.example", "", f"{HOST}:1", "localhost"])
@pytest.mark.parametrize("path", ["/api/flow_runs/filter", "/api/admin/settings", "/solon/"])
def test_no_forged_host_is_a_way_past_the_login(served: Served, host: str, path: str) -> None:
    """As a page sends it whose name was made to lead here."""
    head = f"Host: {host}\nOrigin: http://{host}\nConnection: close\nContent-Length: 0\n\n"
    method = "POST" if "filter" in path else "GET"
    said = asked(served.port, f"{method} {path} HTTP/1.1\n{head}")
    assert said.startswith(b"HTTP/1.1 401 ")
    assert b"evil.example" not in said
    assert b"access-control-allow-origin" not in said.lower()


UPGRADE = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
UPGRADE += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
ANSWERS = {  # what is sent in place of the login: why the socket is closed
    '{"type":"auth","token":"solon:wrong"}': b"Invalid token",
    '{"type":"auth","token":null}': b"no token provided",
    '{"type":"filter","filter":{}}': b"Expected 'auth' message",
}


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
@pytest.mark.parametrize("host", ["evil.example", HOST])
def test_no_websocket_opens_without_the_login(served: Served, path: str, host: str) -> None:
    request = f"GET {path} HTTP/1.1\nHost: {host}\nOrigin: http://{host}\n{UPGRADE}"
    assert asked(served.port, f"{request}\n").startswith(b"HTTP/1.1 403 ")
    for sent, why in ANSWERS.items():
        frame = bytes([0x81, 0x80 | len(sent), 0, 0, 0, 0]) + sent.encode()
        said = asked(served.port, f"{request}Sec-WebSocket-Protocol: prefect\n\n", frame)
        assert (said[0], why in said) == (0x88, True), "closed, and nothing was told"


def test_the_deployments_and_the_schedule_are_there(served: Served) -> None:
    found = served.api("deployments/filter", {})[1]
    assert {d["entrypoint"].rpartition(".")[2] for d in found} == NAMES
    assert all(d["enforce_parameter_schema"] and d["tags"] == ["solon"] for d in found)
    nightly = served.deployment("nightly")
    assert nightly["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    assert nightly["schedules"][0]["schedule"]["timezone"] == "UTC"
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    recipes = served.deployment("align")["parameter_openapi_schema"]["properties"]["recipe"]
    assert recipes["enum"] == ["demo", "paper", "single-gpu", "smoke", "values"]
    names = {a["name"]: a["enabled"] for a in served.api("automations/filter", {})[1]}
    assert names.pop("solon zombies")
    assert names == {f"solon alert: {name}": False for name in ("failed", "gate", "late")}


def test_the_nights_are_off_until_somebody_switches_them_on(served: Served) -> None:
    """Nobody asked for a demo at two in the morning; what is scheduled is said at the start."""
    assert not served.deployment("nightly")["schedules"][0]["active"]
    assert "nightly   off: in the UI choose its recipe" in served.text
    assert served.nights() == []
    served.set_nightly({"active": True, "parameters": {"recipe": "smoke"}})
    next_night = until(served.nights, "the scheduler")[0]
    assert (next_night["state_type"], next_night["auto_scheduled"]) == ("SCHEDULED", True)
    assert "T02:00:00" in next_night["expected_start_time"]
    assert next_night["parameters"]["recipe"] == "smoke"
    served.set_nightly({"active": False})


@pytest.mark.parametrize("flow", sorted(NAMES))
def test_an_untouched_form_is_accepted(served: Served, flow: str) -> None:
    """What the UI sends then: the defaults of the schema, and over them the deployment's; of the
    nights somebody must choose the recipe.
    """
    deployment = served.deployment(flow)
    schema = deployment["parameter_openapi_schema"]
    parts = schema["properties"]
    values = {name: part["default"] for name, part in parts.items() if "default" in part}
    body = {"schema": schema, "values": values | deployment["parameters"]}
    status, said = served.api("ui/schemas/validate", body)
    assert status == 200
    assert said["valid"] is (flow != "nightly"), said
    assert "anyOf" not in str(schema)  # which the UI shows as types
    empty = {"until", "constitution", "edit"} if flow != "train" else set()
    assert set(parts) - set(schema["required"]) <= empty


@pytest.mark.parametrize(
    "parameters",
    [
        {"recipe": "../x"},
        {"recipe": "<script>alert(1)</script>"},
        {"recipe": "demo'; DROP TABLE runs; --"},
        {"recipe": ["smoke"]},
        {"overrides": ["generation.system=" + "x" * 20_001]},
        {"overrides": ["generation.system=" + "x" * 10_000_000]},
        {"overrides": {"generation.system": "x"}},
        {"overrides": [["x"]]},
        {"overrides": "<b>"},
        {"colour": "red"},
    ],
    ids=lambda p: str(p)[:40],
)
def test_bad_parameters_make_no_run(served: Served, parameters: dict[str, Any]) -> None:
    before = len(served.runs())
    status, _ = served.create("refresh", parameters)
    assert 400 <= status < 500
    assert len(served.runs()) == before


@pytest.mark.parametrize(
    ("flow", "override"),
    [
        ("align", "constitution=/etc/passwd"),
        ("align", "constitution={home}/prefect/login"),
        ("align", "constitution=mine.yaml"),
        ("amend", "constitution={home}/link.yaml"),
        ("refresh", "prompts.path=../outside.jsonl"),
        ("refresh", "prompts={{path: {home}/link.jsonl}}"),
        ("train", "prompts.path={home}/prefect/memo_store.toml"),
        ("evaluate", "model={home}/../model"),
        ("evaluate", 'model=" /etc"'),
        ("refresh", 'prompts.path="{home}/a\\0b"'),
        ("nightly", "constitution=~/mine.yaml"),
    ],
)
def test_a_form_reaches_no_file_outside(served: Served, flow: str, override: str) -> None:
    """Refused before anything is read: the flow's state and log name the file and quote nothing."""
    home = served.solon.home
    words = (ROOT / "constitution" / "default.yaml").read_text(encoding="utf-8")
    outside = home.parent / "outside.yaml"
    outside.write_text(words, encoding="utf-8")
    for name in ("link.yaml", "link.jsonl"):
        (home / name).unlink(missing_ok=True)
        (home / name).symlink_to(outside)
    text = override.format(home=home)
    parameters: dict[str, Any] = {"recipe": "smoke", "overrides": [text]}
    if flow == "amend":
        edit = {"slug": "be-concise", "critique": "Say what could go."}
        parameters |= {"edit": edit, "approve": "yes"}
    run = str(served.create(flow, parameters)[1]["id"])
    until(lambda: served.state(run) == "FAILED", "refusal")
    said = served.api(f"flow_runs/{run}")[1]["state"]["message"]
    assert "a form takes" in said or "holds a character that no text has" in said
    wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
    logged = "".join(line["message"] for line in served.api("logs/filter", wanted)[1])
    for secret in (served.login, "root:x:0:0", "Say what could go."):
        assert secret not in said + logged
    assert outside.read_text(encoding="utf-8") == words


def test_an_edit_outside_the_workspace_is_asked_for(served: Served) -> None:
    """The constitutions that ship are everybody's: who has the login alone does not write them."""
    path = ROOT / "constitution" / "default.yaml"
    before = path.read_bytes()
    edit = {"slug": "be-concise", "critique": "Say what could go."}
    parameters = {"recipe": "smoke", "overrides": as_form(SCRIPTED), "edit": edit, "approve": "yes"}
    run = str(served.create("amend", parameters)[1]["id"])
    until(lambda: served.state(run) == "FAILED", "refusal")
    said = served.api(f"flow_runs/{run}")[1]["state"]["message"]
    assert "is not written without being asked for" in said
    assert path.read_bytes() == before


def test_a_run_made_through_the_api_is_done_by_the_worker(served: Served) -> None:
    status, made = served.create("refresh", {"recipe": "smoke", "overrides": as_form(SCRIPTED)})
    assert status == 201
    until(lambda: served.state(made["id"]) == "COMPLETED", "completed")
    rows = Ledger(served.solon.home / "ledger.duckdb").query(
        "SELECT state, flow_run_id FROM runs WHERE flow_run_id = ?", [made["id"]]
    )
    assert [row["state"] for row in rows] == ["completed"]


def test_runs_that_are_asked_for_at_once_are_queued(served: Served) -> None:
    """None is sent back for another's writing, as SQLite lets one write at a time."""
    path = f"deployments/{served.deployment('refresh')['id']}/create_flow_run"
    secret = base64.b64encode(served.login.encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}

    def create(number: int) -> tuple[int, str]:
        body = {"parameters": {"recipe": "smoke"}, "name": f"at-once-{number}", "state": later}
        status, made, _ = served.send(path, headers, body, attempts=1)
        return status, made["id"] if status == 201 else made

    with ThreadPoolExecutor(9) as people:
        made = list(people.map(create, range(9)))
    assert [status for status, _ in made] == [201] * 9, made
    for _, run in made:
        assert served.api(f"flow_runs/{run}", method="DELETE")[0] == 204


def test_a_command_uses_the_server_that_is_there(served: Served) -> None:
    overrides = [f"--set={k}={v}" for k, v in (SCRIPTED | {"prompts.limit": 30}).items()]
    before = {run["id"] for run in served.runs()}
    process = served.solon.start("refresh", "--recipe", "smoke", *overrides)
    most = 0
    while process.poll() is None:
        most = max(most, len(servers(served.solon.home)))
        time.sleep(0.2)
    assert process.returncode == 0, process.communicate()
    assert most == 1
    new = [run for run in served.runs() if run["id"] not in before]
    assert [(run["name"], run["tags"], run["state_type"]) for run in new] == [
        ("refresh smoke", ["solon"], "COMPLETED")
    ]


def test_nightly_and_a_refresh_by_hand_at_once(served: Served) -> None:
    """On one ledger: both finish, nothing lost or made twice, one job at a time on the device."""
    small = TINY | {"generation.engine": "transformers", "generation.batch_rows": 4}
    runs = {}
    for flow, more in (("nightly", {}), ("refresh", {"prompts.limit": 40})):
        parameters = {"recipe": "smoke", "overrides": as_form(small | more)}
        runs[flow] = str(served.create(flow, parameters)[1]["id"])
    until(lambda: {served.state(run) for run in runs.values()} == {"COMPLETED"}, "completed")
    for more in ({}, {"prompts.limit": 40}):
        words = [f"--set={key}={value}" for key, value in (small | more).items()]
        plan = served.solon.json("plan", "--recipe", "smoke", "--until", "pairs", *words)
        assert plan["cost"]["calls"] == [0, 0]
    ledger = Ledger(served.solon.home / "ledger.duckdb")
    rows = ledger.query("SELECT 1 FROM completions WHERE step = 'draft' AND engine <> 'scripted'")
    assert len(rows) == 40
    used = ledger.query(DEVICE_USE, wanted={"flow_run_id": list(runs.values())})
    assert {row["flow_run_id"] for row in used} == set(runs.values())
    for one, other in pairwise(sorted(used, key=lambda row: row["since"])):
        assert one["until"] <= other["since"], "the device was used by two at a time"
    assert served.slots() == 0


def test_cancelling_ends_the_run_and_its_child_and_frees_the_device(served: Served) -> None:
    run = served.start_align()
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    assert served.api(f"flow_runs/{run}/set_state", cancelling)[0] in (200, 201)
    until(lambda: not torch_workers(served.solon.home) and not flow_processes(run), "ended")
    until(lambda: served.slots() == 0, "device freed")
    until(lambda: served.state(run) == "CANCELLED", "cancelled")


def test_a_run_that_is_over_is_not_cancelled_at_the_end(served: Served) -> None:
    """Its process may outlive its last state by a second."""
    found = served.create("refresh", {"recipe": "smoke", "overrides": as_form(SCRIPTED)})[1]
    until(lambda: served.state(found["id"]) == "COMPLETED", "completed")
    assert served.cancel_as_at_the_end(found["id"]) == "COMPLETED"


def test_a_second_start_says_where_the_first_is(served: Served) -> None:
    before = servers(served.solon.home)
    said = served.solon.run("serve")[1]
    assert servers(served.solon.home) == before
    assert f"running already, process {served.process.pid}" in said
    assert f"http://{HOST}:{served.port}" in said
    assert served.login in said


def test_prefect_deploy_makes_the_same_deployments(served: Served) -> None:
    before = {flow: served.deployment(flow) for flow in sorted(NAMES)}
    environment = served.client_environment()
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for flow, was in before.items():
        now = served.deployment(flow)
        for key in ("id", "entrypoint", "tags", "description", "work_pool_name", "parameters"):
            assert now[key] == was[key], (flow, key)
        assert now["concurrency_options"] == was["concurrency_options"]
        assert [s["slug"] for s in now["schedules"]] == [s["slug"] for s in was["schedules"]]
    assert not served.deployment("nightly")["schedules"][0]["active"]


MAKE_BLOCK = """
from prefect.blocks.notifications import SlackWebhook
SlackWebhook(url="http://127.0.0.1:9/none").save("team")
"""


def test_alerts_are_on_once_there_is_somebody_to_tell(served: Served) -> None:
    def automations() -> dict[str, Any]:
        found = served.api("automations/filter", {})[1]
        assert len(found) == 4
        return {a["name"]: a for a in found}

    assert "there is no such block" in served.alert("slack-webhook/team")
    assert [a["enabled"] for a in automations().values()].count(True) == 1
    assert served.alert("slack-webhook/team", MAKE_BLOCK) == "[]"
    assert all(a["enabled"] for a in automations().values())
    late = automations()["solon alert: late"]
    assert late["actions"][0]["type"] == "send-notification"
    assert served.api(f"automations/{late['id']}", {"enabled": False}, "PATCH")[0] == 204
    assert served.alert("slack-webhook/team") == "[]"
    assert not automations()["solon alert: late"]["enabled"]


def test_two_workspaces_are_two_and_ctrl_c_ends_all_of_one(
    served: Served, start: Callable[..., Served]
) -> None:
    other = start("other", SOLON_TIMEZONE="Europe/Berlin")
    assert other.port != served.port
    assert other.login != served.login
    assert served.api("deployments/filter", {}, login=other.login)[0] == 401
    assert other.deployment("nightly")["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
    schedule = {"cron": "30 3 * * *", "timezone": "Europe/Berlin"}
    other.set_nightly({"active": True, "schedule": schedule})  # by a start of an older Solon, say
    others = {"overrides": ["prompts.limit=9"]}
    path = f"deployments/{other.deployment('refresh')['id']}"
    assert other.api(path, {"parameters": others}, "PATCH")[0] == 204
    before = len(served.runs())
    assert other.create("refresh", {"recipe": "mine"})[0] == 409
    run = other.start_align()
    assert len(other.runs()) == 1
    assert len(served.runs()) == before
    other.stop()
    assert processes_of(other.solon.home) == []
    assert flow_processes(run) == []
    assert not (other.solon.home / "prefect" / "serve.json").exists()
    assert served.api("deployments/filter", {})[0] == 200

    recipes = other.solon.home / "recipes"
    recipes.mkdir()
    shutil.copy(ROOT / "flows" / "recipes" / "smoke.yaml", recipes / "mine.yaml")
    again = start("other")
    assert again.create("refresh", {"recipe": "mine"})[0] == 201
    assert again.state(run) == "CANCELLED"
    kept = again.deployment("nightly")["schedules"][0]
    assert (kept["active"], kept["schedule"]["cron"]) == (False, "30 3 * * *")
    assert again.deployment("refresh")["parameters"] == others
    again.start_align()
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    until(lambda: not processes_of(again.solon.home), "all ended with it")


def test_a_server_that_is_named_is_used(served: Served, start: Callable[..., Served]) -> None:
    """It starts no server then, and SIGTERM ends it as Ctrl-C does."""
    url = f"http://{HOST}:{served.port}/api"
    named = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": served.login}
    other = start("named", **named)
    assert f"UI        http://{HOST}:{served.port}" in other.text
    assert "login" not in other.text
    assert servers(other.solon.home) == []
    other.stop(signal.SIGTERM)
    assert processes_of(other.solon.home) == []
    assert served.api("deployments/filter", {})[0] == 200


def test_a_worker_that_dies_ends_it_with_one_line(start: Callable[..., Served]) -> None:
    served = start("home")
    for pid in processes_of(served.solon.home):
        line = Path(f"/proc/{pid}/cmdline").read_text()
        if "worker\0start" in line or "flows.serve.serving\0worker" in line:
            os.kill(pid, signal.SIGKILL)
    assert served.process.wait(30) == 1
    assert served.text.splitlines()[-1].startswith("error: the worker ended, exit code -9: see ")
    assert processes_of(served.solon.home) == []
