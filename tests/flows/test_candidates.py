"""Candidates of the SFT checkpoint, and a judge that is not good enough, through the command line
on a tiny random model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.plan.parts import FloorSettings
from storage.ledger import Ledger
from tasks.judging.card import FLOORS

from .conftest import Solon

pytestmark = pytest.mark.slow

# A rule that some answers of random letters break and others keep.
WORDS = """name: one
principles:
  - slug: no-e
    title: No letter e
    critique: Say where there is an e.
    revision: Write it without that letter.
    comparison: Which response has fewer of them?
    check: {no_character: e}
"""
# Half of the long answers come to an end, whatever this processor's last digits: a cut one may not
# win, and of 64 letters too few do.
SETTINGS = {
    "prompts.limit": 32,
    "sft.learning_rate": 0.0005,
    "generation.max_new_tokens.revision": 96,
    "pairs.shares.candidates": 2,
    "pairs.max_new_tokens": 256,
    "reward.max_steps": 2,
    "dpo.max_steps": 2,
    "ppo.updates": 1,
    "evaluation.prompts": 1,
}
JUDGED = {"judge.use": "true", "judge.floor": "{accuracy: 0.99}"}


def given(home: Path, **more: Any) -> list[str]:
    settings = SETTINGS | {"constitution": home.with_name("one.yaml")} | more
    return ["--recipe", "smoke", *(f for k, v in settings.items() for f in ("--set", f"{k}={v}"))]


def steps(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in result["steps"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candidates")
    (folder / "one.yaml").write_text(WORDS, encoding="utf-8")
    return folder / "home"


@pytest.fixture(scope="module")
def solon(home: Path) -> Iterator[Solon]:
    found = Solon(home)
    with found.serving():
        yield found


@pytest.fixture(scope="module")
def first(solon: Solon, home: Path) -> dict[str, Any]:
    return solon.json("run", *given(home), "--until", "reward")


def test_a_judge_below_its_floor_stops_the_run_before_training(solon: Solon, home: Path) -> None:
    """Not one that only makes pairs. The first test, so that nothing is trained yet."""
    judged = given(home, **JUDGED)
    assert "it must be at least 0.99" in solon.run("run", *judged, "--until", "pairs")[1]
    for command in ("run", "train"):
        said = solon.run(command, *judged, code=1)[1].splitlines()[-1]
        assert said.startswith("error: nothing is trained: The judge's accuracy ")
    assert not list((home / "artifacts").glob("checkpoints/*"))


def test_candidates_are_made_between_sft_and_what_is_trained_on_them(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    made, ledger = steps(first), Ledger(home / "ledger.duckdb")
    assert made["samples"]["generated"] > 0
    (sft,) = ledger.query("SELECT DISTINCT model_id FROM completions WHERE step = 'sample'")
    (base,) = ledger.query("SELECT DISTINCT model_id FROM completions WHERE step = 'draft'")
    assert sft != base
    rows = ledger.query(
        "SELECT c.stage, bool_and(p.created_at > c.created_at) AS is_after"
        " FROM checkpoints c CROSS JOIN pairs p WHERE p.source = 'candidates' GROUP BY c.stage"
    )
    assert {row["stage"]: row["is_after"] for row in rows} == {"sft": True, "reward": False}


def test_what_is_there_is_trained_on_measured_and_then_nothing_is_left(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    trained = steps(solon.json("train", *given(home)))
    assert [s for s, step in trained.items() if step["trained"]] == ["dpo", "ppo"]
    assert trained["samples"]["generated"] == 0
    assert steps(solon.json("evaluate", *given(home)))["evaluate"]["trained"] == 1
    assert solon.json("run", *given(home))["run_id"] is None
    assert "nothing to do" in solon.run("plan", *given(home))[0]


def test_why_of_a_pair_of_candidates_goes_back_to_sft(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    ledger = Ledger(home / "ledger.duckdb")
    (row,) = ledger.query("SELECT min(pair_id) AS id FROM pairs WHERE source = 'candidates'")
    found = solon.json("why", row["id"])
    assert found["counts"]["completion"] >= 2
    assert first["checkpoints"]["sft"] in found["nodes"]
    assert "better by program on no-e" in solon.run("why", row["id"])[0]


def test_where_sft_is_trained_anew_the_plan_holds(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    edited = given(home, **{"sft.max_steps": 4})
    planned = steps(solon.json("plan", *edited, "--until", "reward"))
    assert planned["sft"]["to_train"] == [1, 1]
    assert planned["samples"]["to_generate"][0] == 0 < planned["samples"]["to_generate"][1]
    made = steps(solon.json("run", *edited, "--until", "reward"))
    for name, step in planned.items():
        low, high = step["to_generate"]
        assert low <= made[name]["generated"] <= high, name
        low, high = step["to_train"]
        # one of few rows is made, and not said to be trained
        assert low <= made[name]["trained"] + bool(made[name]["note"]) <= high, name


def test_every_floor_of_a_recipe_is_a_measure_of_the_card() -> None:
    assert set(FloorSettings.model_fields) == set(FLOORS)
