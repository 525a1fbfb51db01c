"""Three nights: the first makes all, the second finds nothing new, the third ten new prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .driven import ROOT, TINY, Driven

pytestmark = pytest.mark.slow

PROMPTS = (ROOT / "constitution" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nightly")


@pytest.fixture(scope="module")
def driven(folder: Path) -> Iterator[Driven]:
    found = Driven(folder / "home")
    yield found
    found.close()


@pytest.fixture(scope="module")
def prompts(folder: Path) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(PROMPTS[:30]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def parameters(prompts: Path) -> dict[str, Any]:
    settings = TINY | {"prompts.path": str(prompts), "prompts.limit": None}
    return {"recipe": "smoke", "overrides": settings}


@pytest.fixture(scope="module")
def first(driven: Driven, parameters: dict[str, Any]) -> dict[str, Any]:
    return driven.run("nightly", parameters)


def test_the_first_night_makes_everything_and_a_champion(
    driven: Driven, first: dict[str, Any]
) -> None:
    assert first["state"] == "Completed", first
    assert first["name"] == "nightly smoke"
    result = first["result"]
    steps = {step["step"]: step for step in result["steps"]}
    assert steps["drafts"]["generated"] == 30
    assert result["gate"]["reasons"][0] == "there is no champion yet"
    assert result["gate"]["passed"]
    assert driven.refs()["champion"] == result["checkpoints"]["ppo"] == result["champion"]
    assert {"plan", "gate", "report", "steps"} <= set(first["artifacts"])
    assert first["events"] == []


def test_a_second_night_with_nothing_new_ends_in_seconds(
    driven: Driven, parameters: dict[str, Any], first: dict[str, Any]
) -> None:
    tables = driven.tables()
    found = driven.run("nightly", parameters)
    assert found["state"] == "Completed", found
    assert found["seconds"] < 30
    assert found["result"]["run_id"] is None
    assert found["result"]["checkpoints"] == first["result"]["checkpoints"]
    assert all(step["trained"] == 0 for step in found["result"]["steps"])
    assert "Nothing new" in found["artifacts"]["plan"]
    assert driven.tables() == tables


def test_a_deployed_run_above_its_budget_asks_first(
    driven: Driven, parameters: dict[str, Any], first: dict[str, Any]
) -> None:
    tables = driven.tables()
    dear = parameters["overrides"] | {"budget.calls": 5, "generation.temperature": 0.5}
    answer = {"approve": False, "by": "Ada"}
    arguments = {"recipe": "smoke", "overrides": dear, "until": "pairs"}
    found = driven.run("align", arguments, answer=answer, deployed=True)
    assert found["waited"] == "Suspended", found
    assert "above the budget" in found["description"]
    assert found["state"] == "Rejected", found
    assert driven.tables() == tables


def test_ten_new_prompts_cost_their_own_rows_only(
    driven: Driven, parameters: dict[str, Any], prompts: Path, first: dict[str, Any]
) -> None:
    """And where champion and candidate cannot be compared, the champion stays and alerts hear."""
    with prompts.open("a", encoding="utf-8") as file:
        file.write("\n".join(PROMPTS[30:40]) + "\n")
    new = {json.loads(line)["prompt"] for line in PROMPTS[30:40]}
    had = {row["completion_id"] for row in driven.ledger.query("SELECT * FROM completions")}
    champion = first["result"]["checkpoints"]
    shutil.rmtree(driven.home / "artifacts" / "checkpoints" / champion["dpo"])
    found = driven.run("nightly", parameters, events_wait_s=20.0)
    assert found["state"] == "Completed", found
    rows = driven.ledger.query(
        "SELECT completion_id, p.messages FROM completions c JOIN prompts p USING (prompt_id)"
    )
    asked = [row["messages"] for row in rows if row["completion_id"] not in had]
    assert {json.loads(messages)[-1]["content"] for messages in asked} == new
    assert len(asked) == 3 * 10  # draft, critique, revision
    steps = {step["step"]: step for step in found["result"]["steps"]}
    assert [steps[stage]["trained"] for stage in ("sft", "reward", "dpo", "ppo")] == [1] * 4
    assert not found["result"]["gate"]["passed"]
    assert driven.refs()["champion"] == champion["ppo"] == found["result"]["champion"]
    assert driven.refs()["latest/ppo"] == found["result"]["checkpoints"]["ppo"]
    assert found["events"] == ["solon.gate.failed"]
    assert "not passed" in found["artifacts"]["gate"]
