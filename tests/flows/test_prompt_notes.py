"""What a plan and a run say of prompts and principles before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.commands import cli, runs
from flows.explain.show import run_lines
from flows.plan.unmet import unmet_principles
from storage.errors import InputError
from tests.flows.world import EVERY_SOURCE, World

ROWS = [{"prompt": f"Name tree {number}.", "category": "open_qa"} for number in range(30)]


def written(tmp_path: Path, rows: list[dict[str, str]]) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def notes(tmp_path: Path, rows: list[dict[str, str]], **settings: object) -> list[str]:
    path = {"prompts.path": str(written(tmp_path, rows))}
    return World(tmp_path, **(path | settings)).inputs.notes


def test_categories_and_principles_that_do_not_meet_are_named(tmp_path: Path) -> None:
    unknown, unmet = notes(tmp_path, ROWS)
    assert unknown.startswith("no principle applies to the categories open_qa (30 of 30 prompts)")
    assert unmet.startswith("no prompt meets 17 of 22 principles: balanced-views, ")
    assert unmet.endswith(" and 9 more; 17 apply to other categories only")


def test_categories_can_be_ignored_or_renamed(tmp_path: Path) -> None:
    (unmet,) = notes(tmp_path, ROWS, **{"prompts.categories": "ignore"})
    assert "other categories only" not in unmet
    assert int(unmet.split()[3]) < 10
    (unmet,) = notes(tmp_path, ROWS, **{"prompts.categories": {"open_qa": "coding"}})
    assert "apply to other categories only" in unmet


def test_a_principle_that_a_judge_asks_about_is_met(tmp_path: Path) -> None:
    without = notes(tmp_path, ROWS, **{"prompts.categories": "ignore"})
    judge = {"judge.use": True, "judge.n_principles": 16}
    assert without
    assert notes(tmp_path, ROWS, **({"prompts.categories": "ignore"} | judge)) == []


def test_plan_says_it_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [*ROWS[:9], {"prompt": " "}, {"prompt": "x", "tools": "y"}, ROWS[0]])
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    settings = ["--set", "generation.engine=scripted", "--set", f"prompts.path={path}"]
    command = ["solon", "plan", "--recipe", "smoke", "--until", "drafts", *settings]
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    assert cli.answer() == 0
    said = json.loads(capsys.readouterr().out)["notes"]
    assert said[0].startswith(f"{path}: 2 of 12 rows are left out (empty 1, duplicate 1): row 10: ")
    assert said[1].startswith("not used beside 1 prompts: `tools`")
    monkeypatch.setattr("sys.argv", command)
    assert cli.answer() == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(f"note: {line}" in out for line in said)


def test_run_says_it_before_it_spends_anything_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise InputError("here", "the flow would begin", "stop")

    monkeypatch.setattr(runs, "run_flow", stopped)
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    command = ["solon", "run", "--recipe", "smoke", "--until", "pairs"]
    command += ["--set", "generation.engine=scripted"]
    command += ["--set", f"prompts.path={written(tmp_path, ROWS)}"]
    monkeypatch.setattr("sys.argv", command)
    assert cli.answer() == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "note: no principle applies to the categories open_qa (30 of 30 prompts)" in err
    assert err.index("note: ") < err.index("the flow would begin")
    result: dict[str, Any] = dict.fromkeys(["verdict", "teaching", "report"])
    result |= {"workspace": "w", "recipe": "r", "exclusions": [], "notes": ["3 of 9 rows"]}
    result |= {"checkpoints": {}, "snapshots": {"preferences": None}, "steps": [], "advice": None}
    result["equal"] = ["PPO answers as SFT does"]
    assert {"note: 3 of 9 rows", *result["equal"]} < set(run_lines(result))


def test_a_column_is_named_by_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("Frage;Art\nWo ist die „Tür“?;x\nWarum?;x\n".encode("windows-1252"))
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    command = ["solon", "plan", "--recipe", "smoke", "--until", "drafts", "--json"]
    command += ["--set", "generation.engine=scripted", "--set", f"prompts.path={path}"]
    encoded = [*command, "--set", "prompts.encoding=windows-1252"]
    monkeypatch.setattr("sys.argv", encoded)
    assert cli.answer() == 2
    assert "as prompts.columns={prompt: Frage}" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*encoded, "--set", "prompts.columns={prompt: Frage}"])
    assert cli.answer() == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["to_generate"] == [2, 2]


def test_what_is_unmet_is_what_no_source_shows(tmp_path: Path) -> None:
    settings = EVERY_SOURCE | {"constitution": "checkable", "prompts.path": "everyday"}
    for limit, is_met in ((3, False), (12, False), (160, True)):
        inputs = World(tmp_path, **(settings | {"prompts.limit": limit})).inputs
        method, prompts = inputs.method, inputs.prompts
        met = {
            principle.slug
            for prompt in prompts
            for principle in (
                method.principles(prompt)
                if method.source(prompt) == "revision"
                else method.shown_to(prompt)
            )
        }
        every = {principle.slug for principle in method.constitution.enabled}
        unmet = {principle.slug for principle in unmet_principles(method, prompts)}
        assert unmet == every - met
        assert (met == every) is is_met
