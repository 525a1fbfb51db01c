"""`solon runs`, `solon status`, and the one thing that would help a run most."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.commands import cli
from flows.plan.advice import advice
from flows.plan.read_inputs import inputs_of
from storage.ledger import Ledger, insert

CALL = {
    **dict.fromkeys(("model_id", "prompt_id", "text", "finish_reason"), ""),
    **dict.fromkeys(("temperature", "top_p", "sample_index", "prompt_tokens"), 0),
    **dict.fromkeys(("completion_tokens", "batch_rows", "duration_s"), 0),
    **dict.fromkeys(("engine", "device", "dtype"), ""),
    "request": "[]",
    "created_at": datetime(2026, 1, 2, tzinfo=UTC),
}
SMALL = {"generation.engine": "scripted", "prompts.limit": 80}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Ledger(tmp_path / "home" / "ledger.duckdb")


def add_run(ledger: Ledger, run_id: str, recipe: str, hour: int, message: str | None) -> None:
    at = datetime(2026, 1, 2, hour, tzinfo=UTC)
    row = {"run_id": run_id, "recipe": recipe, "settings": "{}", "started_at": at, "ended_at": at}
    state = "failed" if message else "completed"
    ledger.path.parent.mkdir(exist_ok=True)
    with ledger.transaction() as con:
        insert(con, "runs", [row | {"state": state, "message": message}])


def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str) -> str:
    monkeypatch.setattr("sys.argv", ["solon", *typed.split()])
    assert cli.answer() == 0
    return capsys.readouterr().out


def test_a_folder_without_a_workspace_says_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"no workspace at {ledger.path.parent}: nothing was run here yet"
    for typed in ("runs", "ref list", "verify", "doctor", "status --recipe smoke"):
        assert said in answer(monkeypatch, capsys, typed).splitlines()
    for typed in ("why latest/dpo", "impact be-concise", "report", "data report"):
        monkeypatch.setattr("sys.argv", ["solon", *typed.split()])
        assert cli.answer() == 2
        assert said in capsys.readouterr().err
    assert not ledger.path.parent.exists()


def test_runs_and_projects_are_told_apart(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(ledger, "run_" + "a" * 32, "shop", 9, "no\nrows")
    add_run(ledger, "run_" + "b" * 32, "shop", 10, None)
    add_run(ledger, "run_" + "c" * 32, "smoke", 11, None)
    lines = answer(monkeypatch, capsys, "runs").splitlines()
    starts = ["run_cccccccc", "run_bbbbbbbb", "run_aaaaaaaa", "no"]
    assert [line.split()[0] for line in lines] == starts
    assert max(map(len, lines)) <= 80
    assert len(answer(monkeypatch, capsys, "runs shop -n 1").splitlines()) == 1
    found = json.loads(answer(monkeypatch, capsys, "status --recipe smoke --json"))
    told = [(p["recipe"], p["runs"], p["state"], p["message"]) for p in found["projects"]]
    assert told == [("smoke", 1, "completed", None), ("shop", 2, "completed", None)]
    assert found["stale"][0] == "drafts"
    out = answer(monkeypatch, capsys, "status --recipe smoke --set model=./none")
    assert "cannot run: " in " ".join(out.split())


def test_the_one_thing_that_would_help_most_is_said(ledger: Ledger) -> None:
    inputs, *_ = inputs_of("smoke", SMALL)
    nothing: Counter[tuple[str, str]] = Counter()
    assert advice(inputs, nothing, {"sft": 40, "drafts": 0}, ledger, None) == ""
    few = advice(inputs, nothing, {"sft": 3, "dpo": 7}, ledger, None)
    assert few == "more prompts: 80 gave 3 rows for sft to learn from"
    unsaid = Counter({("pairs", "no_evidence"): 41})
    assert advice(inputs, unsaid, {"sft": 3}, ledger, None).startswith(
        "of 41 of 80 prompts nothing"
    )
    inputs, *_ = inputs_of("smoke", SMALL | {"gate.questions": 50})
    assert "are held out, and a verdict needs 50" in advice(inputs, nothing, {}, ledger, None)
    inputs, *_ = inputs_of("smoke", SMALL | {"evaluation.prompts": 3})
    assert "raise evaluation.prompts from 3" in advice(inputs, nothing, {}, ledger, None)
    slug, other = (p.slug for p in inputs.constitution.enabled[:2])
    add_run(ledger, "run_c", "smoke", 8, None)
    figures = {f"rule:{slug}": 0.3, f"rule:{other}": 0.4, f"rule:{slug}_minus_base": -0.6}
    rows = [
        {"subject_id": "evl", "name": f"ppo/{n}", "step": -1, "value": v}
        for n, v in figures.items()
    ]
    with ledger.transaction() as con:
        insert(con, "metrics", rows)
    inputs, *_ = inputs_of("smoke", SMALL)
    said = advice(inputs, nothing, {}, ledger, None, "evl")
    assert said.startswith(f"PPO keeps {slug} in 0.30 of its answers, the least of all rules")
    with_cut = Ledger(ledger.path)
    add_run(with_cut, "run_d", "smoke", 9, None)
    calls = [
        {"completion_id": f"cmp_{n}", "cut_at": 96 * (n < 5), "run_id": "run_d", "step": "teacher"}
        for n in range(9)
    ]
    with with_cut.transaction() as con:
        insert(con, "completions", [CALL | call for call in calls])
    said = advice(inputs, nothing, {}, with_cut, "run_d")
    assert said == "5 of 9 answers of the teacher were cut at the limit: raise pairs.max_new_tokens"
