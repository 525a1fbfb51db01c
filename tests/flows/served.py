"""A workspace that is served: server, worker and API, for tests of what people trigger."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from flows.serve.server import HOST, free_port, login
from storage.ledger import Ledger
from storage.workspace import Workspace

from .conftest import HANG_S, ROOT, Solon, until
from .driven import tables
from .prefect_db import seed
from .test_kill import processes_of

NAMES = {
    "align": "run-the-method",
    "refresh": "refresh-rows",
    "train": "train-checkpoints",
    "evaluate": "measure-checkpoints",
    "amend": "amend-the-constitution",
    "nightly": "every-night",
}


def as_form(values: dict[str, Any]) -> list[str]:
    """Overrides as a form sends them."""
    return [f"{key}={value}" for key, value in values.items()]


def recipe_under(home: Path, constitution: Path) -> None:
    """Give a workspace the recipe `mine`: smoke, under a constitution that only a recipe names."""
    smoke = (ROOT / "flows" / "recipes" / "smoke.yaml").read_text(encoding="utf-8")
    (home / "recipes").mkdir(parents=True)
    text = f"constitution: {json.dumps(str(constitution))}\n{smoke}"
    (home / "recipes" / "mine.yaml").write_text(text, encoding="utf-8")


class Served:
    """`solon serve` in a workspace of its own, and its API."""

    def __init__(self, home: Path, **environment: str) -> None:
        seed(home)
        self.solon, self.port = Solon(home), free_port()
        self.solon.env |= {"COLUMNS": "200", "PREFECT_CLIENT_METRICS_ENABLED": "false"}
        self.solon.env |= environment
        self.said = home.parent / f"{home.name}-said"
        arguments = ["serve", "--port", str(self.port)]
        with self.said.open("w") as file:
            command = [sys.executable, "-P", "-m", "flows.commands.cli", *arguments]
            self.process = subprocess.Popen(command, env=self.solon.env, stderr=file, text=True)
        until(lambda: "stop" in self.text or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.text
        self.login = login(Workspace(home))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def text(self) -> str:
        return self.said.read_text()

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it; it must end well."""
        self.process.send_signal(number)
        assert self.process.wait(HANG_S) == 0, self.text

    def api(
        self, path: str, body: Any = None, method: str | None = None, login: str | None = None
    ) -> tuple[int, Any]:
        """Status and content of an API call; a body makes it a POST."""
        secret = base64.b64encode((login or self.login).encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
        return self.send(path, headers, body, method)[:2]

    def send(
        self,
        path: str,
        headers: dict[str, str],
        body: Any = None,
        method: str | None = None,
        attempts: int = 3,
    ) -> tuple[int, Any, Any]:
        """Status, content and headers; where the server is busy (503), as clients do, again."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{HOST}:{self.port}/api/{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read()
                is_json = answer.headers.get_content_type() == "application/json"
                return answer.status, json.loads(text) if is_json else text, answer.headers
        except urllib.error.HTTPError as error:
            if error.code == 503 and attempts > 1:
                time.sleep(1)
                return self.send(path, headers, body, method, attempts - 1)
            return error.code, error.read().decode(errors="replace"), error.headers

    def client_environment(self) -> dict[str, str]:
        """What a program needs that uses Prefect's own client."""
        return self.solon.env | {
            "PREFECT_API_URL": f"http://{HOST}:{self.port}/api",
            "PREFECT_API_AUTH_STRING": self.login,
            "PREFECT_HOME": str(self.solon.home / "prefect"),
        }

    def alert(self, block: str, before: str = "") -> str:
        """Start the automations again with that block to tell, which `before` may make."""
        code = f"{before}\nfrom flows.serve.automations import ensure\nprint(ensure())"
        environment = self.client_environment() | {"SOLON_ALERT_BLOCK": block}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def deployment(self, flow: str) -> Any:
        return self.api(f"deployments/name/{flow}/{NAMES[flow]}")[1]

    def create(self, flow: str, parameters: dict[str, Any]) -> tuple[int, Any]:
        path = f"deployments/{self.deployment(flow)['id']}/create_flow_run"
        return self.api(path, {"parameters": parameters})

    def set_nightly(self, change: dict[str, Any]) -> None:
        """Change the schedule of `nightly`."""
        nightly = self.deployment("nightly")
        path = f"deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
        assert self.api(path, change, "PATCH")[0] == 204

    def runs(self) -> list[Any]:
        """The runs that somebody asked for."""
        found = self.api("flow_runs/filter", {})[1]
        return [run for run in found if not run["auto_scheduled"]]

    def nights(self) -> list[Any]:
        """The runs of the schedule, the earliest first; those to come are among them."""
        found = self.api("flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})[1]
        return [run for run in found if run["auto_scheduled"]]

    def artifacts(self, run: str) -> dict[str, Any]:
        """The content of what a run shows, by key."""
        return {key: artifact["data"] for key, artifact in self.shown(run).items()}

    def shown(self, run: str) -> dict[str, dict[str, Any]]:
        """What a run shows, by key without its recipe, which is smoke."""
        found = self.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})[1]
        return {artifact["key"].removeprefix("smoke-"): artifact for artifact in found}

    def question(self, run: str) -> str:
        """What a waiting run says."""
        details = self.api(f"flow_runs/{run}")[1]["state"]["state_details"]
        key = details["run_input_keyset"]["description"]
        found: bytes = self.api(f"flow_runs/{run}/input/{key}")[1]
        return found.decode()

    def tables(self) -> dict[str, Any]:
        return tables(Ledger(self.solon.home / "ledger.duckdb"))

    def state(self, run: str) -> str:
        return str(self.api(f"flow_runs/{run}")[1]["state"]["type"])

    def slots(self) -> int:
        return int(self.api("v2/concurrency_limits/gpu")[1]["active_slots"])

    def cancel_as_at_the_end(self, run: str) -> str:
        """Say of a run what `solon serve` says of those it ended; returns the run's state then."""
        code = f"from flows.serve.serving import _set_state; _set_state('Cancelled', {{{run!r}}})"
        subprocess.run([sys.executable, "-c", code], env=self.client_environment(), check=True)
        return self.state(run)

    def start_align(self) -> str:
        """A flow run of the whole method that has the device and a model in memory."""
        run = str(self.create("align", {"recipe": "smoke"})[1]["id"])
        until(lambda: self.slots() and torch_workers(self.solon.home), "generation")
        return run


def command_lines(home: Path) -> list[str]:
    found = []
    for pid in processes_of(home):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def torch_workers(home: Path) -> list[str]:
    return [line for line in command_lines(home) if "tasks.worker" in line]


def servers(home: Path) -> list[str]:
    return [line for line in command_lines(home) if "uvicorn" in line]


def flow_processes(run: str) -> list[int]:
    mark = f"PREFECT__FLOW_RUN_ID={run}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
