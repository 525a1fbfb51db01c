"""Texts in what a run shows are only texts, and its bars cost little. See also test_nightly.py."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from flows.run import progress
from flows.run.console import BarProgress
from flows.run.progress import StepArtifact, sentence
from flows.run.publish import SAMPLE_CHARS

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
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
FORBIDDEN = set("\n\u202e\u2066\x07\u200b")

REFRESH = """
import json, sys
from functools import partial
from storage.workspace import Workspace
from flows.serve import server

given = json.loads(sys.argv[1])
with server.running(Workspace.open().create()):
    import flows.run.workers
    from flows.align import refresh
    from prefect.client.orchestration import get_client
    from tasks.engines.scripted import ScriptedEngine

    flows.run.workers.ScriptedEngine = partial(ScriptedEngine, vocabulary=given["words"], longest=3)
    refresh("smoke", given["settings"])
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact.data for artifact in client.read_artifacts()}
print(json.dumps([found["smoke-samples"], found["smoke-review-page"]]))
"""


@pytest.mark.slow
def test_hostile_text_reaches_the_ui_as_text(tmp_path: Path) -> None:
    prompts, home = tmp_path / "prompts.jsonl", tmp_path / "home"
    lines = [json.dumps({"prompt": f"{text} {n}"}) for n in range(4) for text in HOSTILE]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    seed(home)
    env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
    env.pop("PREFECT_API_URL", None)
    given = {"words": HOSTILE, "settings": TINY | {"prompts.path": str(prompts), "seed": 1}}
    command = [sys.executable, "-c", REFRESH, json.dumps(given)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    samples, link = json.loads(done.stdout.splitlines()[-1])
    assert link == "[Review pairs](/solon/review?recipe=smoke)"
    assert_texts_only(samples.splitlines())


def assert_texts_only(lines: list[str]) -> None:
    """Every line but the frame's."""
    prompts = [line[2:-2] for line in lines if line.startswith("**")]
    sides = ("rejected: ", "chosen: ")
    answers = [[line for line in lines if line.startswith(side)] for side in sides]
    assert 1 < len(prompts) <= 6
    assert [len(own) for own in answers] == [len(prompts)] * 2
    assert len(lines) == 1 + 8 * len(prompts)
    texts = [*prompts, *(text for own in answers for text in own)]
    for text in texts:
        assert not FORBIDDEN & set(text), text
        assert "://" not in text.replace(r"\://", "")
        assert "@e" not in text.replace(r"\@e", "")
        assert len(read(text)) <= SAMPLE_CHARS + 40
    everything = " ".join(map(read, texts))
    assert any(text.partition("\n")[0].split(" \u202e")[0] in everything for text in HOSTILE)


def read(text: str) -> str:
    """What a reader sees of a text that is nothing but text."""
    (inline,) = (token for token in MARKDOWN.parse(text) if token.type == "inline")
    assert all(child.type in ("text", "text_special") for child in inline.children or []), text
    return "".join(child.content for child in inline.children or [])


def test_a_step_that_ends_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), width=100)
    bar = BarProgress(console)
    bar.start("drafts", 80, "rows")
    clock[0] = 164.25
    bar.finish("80 made, 146 tokens/s")
    bar.finish("nothing was begun")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "drafts: 80 rows",
        "drafts: 80 made in 64.2 s, 146 tokens/s",
        "nothing was begun",
    ]
    assert sentence("sft", "done", 100.0) == "sft: done in 64.2 s"


def test_a_long_step_is_heard_of_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), width=100)
    bar = BarProgress(console)
    bar.start("ppo", 50, "updates")
    for done in range(1, 8):
        clock[0] += 10
        bar.update(done, 50, "reward 0.3")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "ppo: 50 updates",
        "ppo: 3/50 updates reward 0.3",
        "ppo: 6/50 updates reward 0.3",
    ]


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
