"""Nights as the scheduler starts them, and what waits suspended for an answer.

The deployment's own schedule, every fifteen seconds instead of at 02:00.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flows.run.publish import PICTURE
from flows.serve.server import HOST
from storage.ids import short
from storage.ledger import Ledger, point
from storage.lookup import find

from .driven import ROOT, TINY
from .served import Served, as_form, flow_processes, recipe_under, until

pytestmark = pytest.mark.slow

PROMPTS = (ROOT / "constitution" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
EVERY_S = 15.0
DRAWN = re.compile(r"!\[[^]]+\]\(data:image/png;base64,iVBOR\S+\)\Z")
MAKE_BLOCK = """
from prefect.blocks.notifications import CustomWebhookNotificationBlock
text = {{"subject": "{{{{subject}}}}", "body": "{{{{body}}}}"}}
CustomWebhookNotificationBlock(name="team", url="{url}", json_data=text).save("team")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nightly")


@pytest.fixture(scope="module")
def words(folder: Path) -> Path:
    """The constitution of the workspace's own recipe, `mine`."""
    return Path(shutil.copy(ROOT / "constitution" / "default.yaml", folder / "mine.yaml"))


@pytest.fixture(scope="module")
def served(folder: Path, words: Path) -> Iterator[Served]:
    recipe_under(folder / "home", words)
    found = Served(folder / "home")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def ledger(served: Served) -> Ledger:
    return Ledger(served.solon.home / "ledger.duckdb")


@pytest.fixture(scope="module")
def prompts(served: Served) -> Path:
    """In the workspace: a form may name no file elsewhere."""
    path = served.solon.home / "prompts.jsonl"
    path.write_text("\n".join(PROMPTS[:30]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def settings(prompts: Path) -> dict[str, Any]:
    return TINY | {"prompts.path": str(prompts), "prompts.limit": 1000}


@pytest.fixture(scope="module", autouse=True)
def every_few_seconds(served: Served, settings: dict[str, Any]) -> None:
    """The deployment's own schedule, switched on, with an interval for its cron."""
    parameters = {"recipe": "smoke", "overrides": as_form(settings)}
    schedule = {"active": True, "schedule": {"interval": EVERY_S}, "parameters": parameters}
    served.set_nightly(schedule)


def started(served: Served) -> set[str]:
    """The nights that have begun."""
    return {run["id"] for run in served.nights() if run["start_time"]}


def ended(served: Served) -> set[str]:
    """The nights that are over: one that has begun may not have read its prompts yet."""
    runs = served.nights()
    return {run["id"] for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CANCELLED")}


def night(served: Served, after: set[str] | None = None) -> dict[str, Any]:
    """The run that the schedule starts next, once it is through; with `after`, the first that is
    none of them and made something.
    """
    before = started(served) if after is None else after

    def done() -> Any:
        runs = [run for run in served.nights() if run["id"] not in before and run["start_time"]]
        over = [run for run in runs if run["state_type"] in ("COMPLETED", "FAILED")]
        if after is not None:
            over = [run for run in over if "steps" in served.artifacts(run["id"])]
        return next(iter(over), None)

    found: dict[str, Any] = until(done, "a night")
    assert found["state_type"] == "COMPLETED", found["state"]
    return found


def refs(ledger: Ledger) -> dict[str, str]:
    return {row["name"]: row["target_id"] for row in ledger.query("SELECT * FROM refs")}


def steps(served: Served, run: dict[str, Any]) -> dict[str, Any]:
    """What the run shows of each step; of an id it shows the start."""
    ledger = Ledger(served.solon.home / "ledger.duckdb")
    shown = json.loads(served.artifacts(run["id"])["steps"])
    return {s["step"]: s | {"id": s["id"] and find(ledger, s["id"])[0]} for s in shown}


@pytest.fixture(scope="module")
def first(served: Served, ledger: Ledger) -> dict[str, Any]:
    """The first night, and a champion: chance decides whether a tiny model is worse than it was."""
    found = night(served)
    is_promoted = "is the champion now" in served.artifacts(found["id"])["gate"]
    made = steps(served, found)["ppo"]["id"]
    assert refs(ledger).get("smoke/champion") == (made if is_promoted else None)
    point(ledger, "smoke/champion", made)
    return found


def test_the_first_night_makes_everything(
    served: Served, ledger: Ledger, first: dict[str, Any]
) -> None:
    assert first["name"] == "nightly smoke"
    assert first["auto_scheduled"]
    made = steps(served, first)
    assert made["drafts"]["generated"] == 30
    assert [made[stage]["trained"] for stage in ("sft", "reward", "dpo", "ppo")] == [1] * 4
    shown = served.artifacts(first["id"])
    assert {"plan", "gate", "report", "steps"} <= set(shown)
    assert "than the base (there is no champion yet)" in shown["gate"]
    assert made["ppo"]["id"] == refs(ledger)["smoke/latest/ppo"]


def test_a_run_shows_its_steps_curves_lineage_and_report(
    served: Served, first: dict[str, Any]
) -> None:
    found = served.shown(first["id"])
    rows = json.loads(found["steps"]["data"])
    assert [row["step"] for row in rows][-1] == "evaluate"
    assert {"reused", "generated", "left out", "trained", "id"} <= set(rows[0])
    curves = {key for key, artifact in found.items() if DRAWN.match(str(artifact["data"]))}
    assert curves == {f"loss-{stage}" for stage in ("sft", "reward", "dpo", "ppo")}
    assert not [key for key, artifact in found.items() if artifact["type"] == "image"]
    drawn = found["report"]["data"].count("](data:image/svg+xml;base64,")
    assert drawn == 5  # three losses, lengths, reward over KL; one PPO update makes no line
    lineage, made = found["lineage"]["data"], steps(served, first)
    assert lineage.startswith("| made from | id or how many | what |\n")
    assert all(short(made[stage]["id"]) in lineage for stage in ("ppo", "sft", "reward"))
    assert not PICTURE.search(found["report"]["data"])  # a relative link leads nowhere in the UI


def test_what_a_run_shows_says_what_it_is_and_of_which_run(
    served: Served, ledger: Ledger, first: dict[str, Any]
) -> None:
    sql = "SELECT run_id FROM runs WHERE flow_run_id = ? AND until IS NULL"
    run_id = ledger.query(sql, [first["id"]])[0]["run_id"]
    found = {key: artifact["description"] for key, artifact in served.shown(first["id"]).items()}
    bars = {key: text for key, text in found.items() if key.startswith("progress-")}
    assert all(text.startswith("nightly smoke: ") for text in bars.values())
    assert re.fullmatch(r"nightly smoke: drafts: .* in \d+\.\d s(,.*)?", bars["progress-drafts"])
    own = {"steps", "samples", "lineage", "report", "loss-sft", "loss-ppo"}
    of_run = f"(recipe smoke, {short(run_id)})"
    assert [key for key in own if not found[key].endswith(of_run)] == []
    ppo = short(steps(served, first)["ppo"]["id"])
    assert found["lineage"] == f"What {ppo} was made from {of_run}"
    assert re.match(r"By step: \d+ reused, \d+ generated, 5 trained \(", found["steps"])


def test_the_log_says_what_was_done_and_not_that_tasks_are_over(
    served: Served, first: dict[str, Any]
) -> None:
    wanted = {"logs": {"flow_run_id": {"any_": [first["id"]]}}, "limit": 200}
    found = served.api("logs/filter", wanted)[1]
    lines = [log["message"] for log in found]
    for step in ("drafts", "revisions, round 0", "sft", "ppo", "answers of dpo"):
        pattern = re.compile(rf"{step}: .* in \d+\.\d s(,.*)?")
        assert any(pattern.fullmatch(line) for line in lines), (step, lines)
    assert not [log for log in found if log["task_run_id"] and "Completed()" in log["message"]]


def test_every_step_has_a_bar_that_ends_full(served: Served, first: dict[str, Any]) -> None:
    shown = served.shown(first["id"]).items()
    bars = {key: found["data"] for key, found in shown if found["type"] == "progress"}
    wanted = {"progress-drafts", "progress-revisions-round-0", "progress-sft", "progress-ppo"}
    assert wanted <= set(bars)
    assert set(bars.values()) == {100.0}


def test_a_hit_is_shown_as_cached_with_the_id_it_reused(
    served: Served, settings: dict[str, Any], first: dict[str, Any]
) -> None:
    run = str(served.create("align", {"recipe": "smoke", "overrides": as_form(settings)})[1]["id"])
    until(lambda: served.state(run) == "COMPLETED", "a run with nothing to do")
    found, made = served.shown(run), steps(served, first)
    assert {"steps", "samples", "report", "lineage", "loss-ppo"} <= set(found)
    assert not any(key.startswith("progress-") for key in found)
    rows = json.loads(found["steps"]["data"])
    assert [row["reused"] for row in rows if row["step"] == "drafts"] == [30]
    assert {row["trained"] for row in rows} == {0}
    tasks = served.api("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[1]
    states = {task["name"]: task["state"]["name"] for task in tasks}
    assert states[f"ppo {short(made['ppo']['id'])}"] == "Cached"


def test_a_night_that_would_overlap_is_refused(served: Served, first: dict[str, Any]) -> None:
    """A night holds its place from when the worker takes it, seconds before it runs."""
    assert first["total_run_time"] > EVERY_S
    refused = [run for run in served.nights() if run["state_type"] == "CANCELLED"]
    assert refused
    nights = [n for n in served.nights() if n["start_time"] and n["state_type"] != "CANCELLED"]
    taken = {night["id"]: taken_at(served, night["id"]) for night in nights}

    def is_within(run: dict[str, Any], night: dict[str, Any]) -> bool:
        return taken[night["id"]] < run["end_time"] < (night["end_time"] or "9")

    assert any(is_within(run, first) for run in refused)
    assert all(any(is_within(run, night) for night in nights) for run in refused)


def taken_at(served: Served, run: str) -> str:
    """When a run was first pending, as the server writes times."""
    states = served.api(f"flow_run_states/?flow_run_id={run}")[1]
    return min(str(s["timestamp"]) for s in states if s["type"] == "PENDING")


def test_a_second_night_with_nothing_new_makes_nothing(
    served: Served, first: dict[str, Any]
) -> None:
    tables = served.tables()
    found = night(served)
    assert set(served.artifacts(found["id"])) == {"plan"}
    assert "Nothing new" in served.artifacts(found["id"])["plan"]
    assert served.tables() == tables


def refuse(served: Served, flow: str, parameters: dict[str, Any]) -> str:
    """Start a run that asks, refuse it through the API as the UI would; returns its question."""
    status, made = served.create(flow, {"recipe": "smoke"} | parameters)
    assert status == 201, made
    run = str(made["id"])
    until(lambda: served.state(run) == "PAUSED", "the question")
    assert served.api(f"flow_runs/{run}")[1]["state"]["name"] == "Suspended"
    until(lambda: not flow_processes(run), "the end of its process")
    assert served.cancel_as_at_the_end(run) == "PAUSED"
    question = served.question(run)
    answer = {"run_input": {"approve": False, "by": "Ada", "note": "not today"}}
    assert served.api(f"flow_runs/{run}/resume", answer)[0] in (200, 201)
    until(lambda: served.api(f"flow_runs/{run}")[1]["state"]["name"] == "Rejected", "the end")
    return question


def test_a_run_above_its_budget_asks_first(
    served: Served, settings: dict[str, Any], first: dict[str, Any]
) -> None:
    tables = served.tables()
    dear = as_form(settings | {"budget.calls": 5, "generation.temperature": 0.5})
    question = refuse(served, "align", {"overrides": dear, "until": "pairs"})
    assert "above the budget" in question
    assert served.tables() == tables


def test_an_amendment_waits_without_a_process(
    served: Served, ledger: Ledger, settings: dict[str, Any], first: dict[str, Any], words: Path
) -> None:
    text, tables = words.read_bytes(), served.tables()
    edit = {"slug": "be-concise", "critique": "Say what is missing."}
    parameters = {"recipe": "mine", "overrides": as_form(settings), "edit": edit, "samples": 0}
    question = refuse(served, "amend", parameters)
    assert "be-concise" in question
    assert words.read_bytes() == text
    assert served.tables() == tables
    (row,) = ledger.query("SELECT * FROM approvals ORDER BY asked_at DESC LIMIT 1")
    assert (row["is_approved"], row["decided_by"], row["note"]) == (False, "Ada", "not today")


class Hearer(BaseHTTPRequestHandler):
    """Somebody's webhook: keeps what it is told."""

    told: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.told.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def told(served: Served) -> Iterator[list[dict[str, str]]]:
    """What the alerts say to a webhook."""
    hearer = ThreadingHTTPServer((HOST, 0), Hearer)
    threading.Thread(target=hearer.serve_forever, daemon=True).start()
    url = f"http://{HOST}:{hearer.server_port}"
    assert served.alert("custom-webhook/team", MAKE_BLOCK.format(url=url)) == "[]"
    yield Hearer.told
    hearer.shutdown()


def test_ten_new_prompts_cost_their_own_rows_only(
    served: Served,
    ledger: Ledger,
    prompts: Path,
    first: dict[str, Any],
    told: list[dict[str, str]],
) -> None:
    """And where champion and candidate cannot be compared, the champion stays and alerts hear."""
    before = ended(served)
    with prompts.open("a", encoding="utf-8") as file:
        file.write("\n".join(PROMPTS[30:40]) + "\n")
    new = {json.loads(line)["prompt"] for line in PROMPTS[30:40]}
    had = {row["completion_id"] for row in ledger.query("SELECT * FROM completions")}
    champion = refs(ledger)["smoke/champion"]
    shutil.rmtree(served.solon.home / "artifacts" / "checkpoints" / champion)
    found = night(served, before)
    rows = ledger.query(
        "SELECT completion_id, p.messages FROM completions c JOIN prompts p USING (prompt_id)"
        " WHERE step <> 'answer'"
    )
    asked = [row["messages"] for row in rows if row["completion_id"] not in had]
    assert {json.loads(messages)[-1]["content"] for messages in asked} == new
    assert len(asked) == 3 * 10  # draft, critique, revision
    made = steps(served, found)
    assert [made[stage]["trained"] for stage in ("sft", "reward", "dpo", "ppo")] == [1] * 4
    gate = served.artifacts(found["id"])["gate"]
    assert "is not promoted" in gate
    assert "was not measured beside the champion" in gate
    assert refs(ledger)["smoke/champion"] == champion
    assert refs(ledger)["smoke/latest/ppo"] == made["ppo"]["id"] != champion
    until(lambda: told, "the alert")
    assert [said["subject"] for said in told] == ["solon alert: gate"]
    assert told[0]["body"].startswith("solon.gate.failed: ")
