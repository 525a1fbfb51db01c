"""What a run shows in Prefect's UI, read back from its server; texts in it are only texts."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import progress
from flows.progress import StepArtifact
from flows.publish import PICTURE, SAMPLE_CHARS
from tasks.evaluation.escape import ZERO_WIDTH

from .driven import TINY
from .prefect_db import seed

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = [
    "<script>alert(1)</script> <img src=x onerror=alert(1)>",
    "[click](https://evil.example/a) ![pixel](https://evil.example/b.png)",
    "`code` | cell | *bold* _it_ # heading $x$",
    "```\nfence\n```\n\n---\n\n| a | b |\n|---|---|",
    "right \u202eto left\u202c, hidden \u2066isolate\u2069, bell \x07, emoji 👩‍🚀 stays",
    "https://evil.example/plain and mail me@evil.example",
    "long " + "word " * 200,
]
FORBIDDEN = set('<>`|*[]"\\$^~{}\n\u202e\u2066\x07')

RUN = """
import json, sys
from functools import partial
from storage.workspace import Workspace
from flows import server

workspace, made = Workspace.open().create(), {}
given = json.loads(sys.argv[1])
with server.running(workspace):
    import flows.session
    from flows.align import align, refresh
    from prefect.client.orchestration import get_client
    from tasks.generation.scripted import ScriptedEngine

    def shown():
        with get_client(sync_client=True) as client:
            answer = client.request("POST", "/artifacts/filter", json={"sort": "CREATED_DESC"})
            runs = {str(r.id): r.name for r in client.read_flow_runs()}
            tasks = [t.name for t in client.read_task_runs(limit=200)]
        found = answer.json()
        for artifact in found:
            artifact["run"] = runs[artifact["flow_run_id"]]
        return {"artifacts": found, "tasks": tasks}

    scripted = given["settings"]
    made["align"] = align("smoke", scripted)
    made["first"] = shown()
    align("smoke", scripted)
    made["second"] = shown()
    flows.session.ScriptedEngine = partial(ScriptedEngine, vocabulary=given["words"], longest=3)
    refresh("smoke", scripted | {"prompts.path": given["prompts"], "seed": 1})
    made["hostile"] = shown()
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("artifacts") / "home"
    prompts = home.parent / "prompts.jsonl"
    lines = [json.dumps({"prompt": f"{text} {n}"}) for n in range(4) for text in HOSTILE]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    seed(home)
    env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
    env.pop("PREFECT_API_URL", None)
    given = {"words": HOSTILE, "prompts": str(prompts), "settings": TINY}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(given)],
        env=env,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def by_key(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The latest artifact of each key."""
    return {found["key"]: found for found in reversed(shown["artifacts"])}


@pytest.mark.slow
def test_a_run_shows_its_steps_curves_lineage_and_report(made: dict[str, Any]) -> None:
    found = by_key(made["first"])
    steps = json.loads(found["steps"]["data"])
    assert [row["step"] for row in steps][-1] == "evaluate"
    assert {"reused", "generated", "excluded", "trained", "id"} <= set(steps[0])
    pictures = {key for key, artifact in found.items() if artifact["type"] == "image"}
    stages = {f"loss-{stage}" for stage in ("sft", "reward", "dpo", "ppo")}
    assert pictures == stages | {"training", "rewards", "kl"}
    assert all(found[key]["data"].startswith("data:image/png;base64,iVBOR") for key in pictures)
    chart = found["lineage"]["data"]
    assert "```mermaid\nflowchart BT\n" in chart
    assert all(made["align"]["checkpoints"][stage] in chart for stage in ("ppo", "sft", "reward"))
    report = found["report"]["data"]
    assert "the artifact `training`" in report
    assert not PICTURE.search(report)  # a relative link leads nowhere in the UI


@pytest.mark.slow
def test_every_step_has_a_bar_that_ends_full(made: dict[str, Any]) -> None:
    found = [a for a in made["first"]["artifacts"] if a["type"] == "progress"]
    keys = {artifact["key"] for artifact in found}
    assert {"progress-drafts", "progress-revisions-round-0", "progress-sft", "progress-ppo"} <= keys
    assert {artifact["data"] for artifact in found} == {100.0}
    assert all(artifact["flow_run_id"] for artifact in found)


@pytest.mark.slow
def test_a_hit_publishes_too_and_tasks_carry_their_key(made: dict[str, Any]) -> None:
    first, second = made["first"]["artifacts"], made["second"]["artifacts"]
    new = {a["key"] for a in second if a["id"] not in {old["id"] for old in first}}
    assert {"steps", "samples", "report", "lineage", "loss-ppo", "training"} <= new
    assert not any(key.startswith("progress-") for key in new)
    steps = json.loads(by_key(made["second"])["steps"]["data"])
    assert [row["reused"] for row in steps if row["step"] == "drafts"] == [30]
    assert {row["trained"] for row in steps} == {0}
    assert f"ppo {made['align']['checkpoints']['ppo']}" in made["first"]["tasks"]


@pytest.mark.slow
def test_hostile_text_reaches_the_ui_as_text(made: dict[str, Any]) -> None:
    latest = by_key(made["hostile"])["samples"]
    assert latest["run"] == "refresh smoke"
    rows = json.loads(latest["data"])
    assert 1 < len(rows) <= 6
    assert set(rows[0]) == {"prompt", "draft", "revision", "principle"}
    texts = [text for row in rows for text in row.values()]
    for text in texts:
        shown = html.unescape(text)
        assert not FORBIDDEN & set(text.replace("&#", "")), text
        assert "://" not in text
        assert "@" not in text.replace(ZERO_WIDTH + "@", "")
        assert len(shown.replace(ZERO_WIDTH, "")) <= SAMPLE_CHARS + 40
    everything = html.unescape(" ".join(texts)).replace(ZERO_WIDTH, "")
    assert any(text.partition("\n")[0].split(" \u202e")[0] in everything for text in HOSTILE)


class Counted(StepArtifact):
    """Notes what would be sent to the server."""

    def __init__(self, step: str) -> None:
        self.sent: list[tuple[float, str]] = []
        self.fails = False
        super().__init__(step, "begins")

    def _send(self, percent: float, text: str) -> None:
        if self.fails:
            raise ConnectionError("the server is away")
        self.sent.append((percent, text))


def test_a_bar_is_drawn_once_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bar = Counted("Drafts, round 0")
    for tick in range(1, 25):
        clock[0] = 100.0 + tick / 10
        bar.show(tick, f"at {tick}")
    bar.show(100.0, "done", is_last=True)
    assert bar._key == "progress-drafts-round-0"
    assert [percent for percent, _ in bar.sent] == [0.0, 10, 20, 100.0]


def test_a_server_that_is_away_ends_the_bar_and_not_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bar = Counted("sft")
    bar.fails, clock[0] = True, 102.0
    bar.show(50.0, "half")
    bar.fails, clock[0] = False, 110.0
    bar.show(80.0, "more")  # each try would wait out the client's attempts
    assert [percent for percent, _ in bar.sent] == [0.0]
