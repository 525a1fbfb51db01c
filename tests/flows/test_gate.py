"""The gate on answers written by hand, and what a budget lets through."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.plan.recipe import BudgetSettings, GateSettings, load
from flows.run.gate import Gate, gate, gate_markdown, judge
from flows.run.session import Session
from flows.serve.approval import over_budget
from storage.errors import InputError
from storage.ledger import Ledger
from tasks.training.settings import WEIGHT_CHANGE

SETTINGS = GateSettings(max_kl=5.0)


def answers(rewards: list[Any], kl: Any = 1.0, reason: str = "stop") -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"prm_{n}", "reward": reward, "kl": kl, "finish_reason": reason}
        for n, reward in enumerate(rewards)
    ]


def test_what_it_is_held_against_is_named() -> None:
    found = gate(answers([0.0]), answers([1.0]), SETTINGS, name="the base model")
    assert found.passed
    assert found.reasons[0].startswith("no worse than the base model: reward +1.000")
    worse = gate(answers([1.0]), answers([0.0]), SETTINGS, name="the base model")
    assert worse.reasons[0].startswith("worse than the base model: reward -1.000")


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gate]:
    """Judge the first candidate, with no model: its answers, the base's, and unchanged stages."""
    made = {stage: f"ckp_{stage}" for stage in ("sft", "reward", "dpo", "ppo")}
    result = {"checkpoints": made, "steps": [{"step": "evaluate", "id": "evl_1"}]}

    def judge_first(base: list[float], ppo: list[float], unchanged: tuple[str, ...] = ()) -> Gate:
        ledger = Ledger(tmp_path / "ledger.duckdb")
        with ledger.transaction() as con:
            for stage, found in made.items():
                con.execute(
                    "INSERT INTO checkpoints (checkpoint_id, base_model_id, dataset_id, run_id,"
                    " parent_ids, parent_roles, stage, components, path, duration_s, created_at)"
                    " VALUES (?, 'mdl', 'dst', 'run', [], [], ?, '{}', '', 1, now())",
                    [found, stage],
                )
                con.execute(
                    "INSERT INTO metrics (subject_id, name, step, value) VALUES (?, ?, -1, ?)",
                    [found, WEIGHT_CHANGE, 0.0 if stage in unchanged else 0.1],
                )
        sides = [a | {"policy": "base"} for a in answers(base)]
        sides += [a | {"policy": "ppo"} for a in answers(ppo)]
        monkeypatch.setattr("flows.run.gate.answers_of", lambda session, found: sides)
        recipe = SimpleNamespace(gate=SETTINGS, seed=0)
        results = SimpleNamespace(refs="latest")
        session = SimpleNamespace(results=results, ledger=ledger, recipe=recipe)
        return judge(cast(Session, session), result)

    return judge_first


def test_the_first_candidate_is_held_against_the_base(judged: Callable[..., Gate]) -> None:
    found = judged([3.0, 2.0, 2.5], [1.0, 0.5, 0.4])
    assert not found.passed
    assert "worse than the base model, as there is no champion yet" in found.reasons[0]


def test_the_first_candidate_may_pass(judged: Callable[..., Gate]) -> None:
    assert judged([1.0, 0.5, 0.4], [3.0, 2.0, 2.5]).passed


@pytest.mark.parametrize("stage", ["sft", "reward", "ppo"])
def test_a_training_that_changed_no_weight_is_not_promoted(
    judged: Callable[..., Gate], stage: str
) -> None:
    found = judged([1.0, 0.5], [3.0, 2.0], unchanged=(stage,))
    assert not found.passed
    assert found.reasons == (f"{stage}: its training changed no weight",)


def test_dpo_is_no_part_of_the_candidate(judged: Callable[..., Gate]) -> None:
    assert judged([1.0, 0.5], [3.0, 2.0], unchanged=("dpo",)).passed


def test_a_tie_passes() -> None:
    same = answers([1.0, -2.0, 0.5])
    found = gate(same, same, SETTINGS)
    assert found.passed
    assert found.numbers["difference"] == found.numbers["low"] == found.numbers["high"] == 0.0
    assert found.numbers["prompts"] == 3


def test_worse_within_the_interval_passes() -> None:
    old, new = [0.0, 0.0, 0.0, 0.0], [-3.0, 2.0, -2.0, 2.5]
    found = gate(answers(old), answers(new), SETTINGS)
    assert found.numbers["difference"] < 0 < found.numbers["high"]
    assert found.passed


def test_worse_beyond_the_interval_fails() -> None:
    found = gate(answers([1.0, 2.0, 3.0]), answers([0.5, 1.4, 2.2]), SETTINGS)
    assert not found.passed
    assert found.numbers["difference"] == pytest.approx(-1.9 / 3)
    assert "worse than the champion" in found.reasons[0]


def test_too_far_from_sft_fails_however_good() -> None:
    found = gate(answers([0.0]), answers([9.0], kl=5.5), SETTINGS)
    assert not found.passed
    assert "KL to SFT 5.50 nats, above 5" in found.reasons
    assert gate(answers([0.0]), answers([9.0], kl=5.0), SETTINGS).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_what_cannot_be_measured_is_not_promoted(bad: Any) -> None:
    good = answers([1.0, 2.0])
    assert not gate(good, answers([1.0, bad]), SETTINGS).passed
    assert not gate(answers([bad, 2.0]), good, SETTINGS).passed
    assert not gate(answers([1.0]), answers([1.0], kl=bad), SETTINGS).passed


def test_nothing_to_go_by_fails() -> None:
    good = answers([1.0])
    assert not gate([], [], SETTINGS).passed
    assert not gate(good, [], SETTINGS).passed
    assert not gate([], good, SETTINGS).passed
    assert not gate(good, answers([1.0], reason="too_long"), SETTINGS).passed
    other = [answer | {"prompt_id": "prm_other"} for answer in good]
    assert "in common" in gate(other, good, SETTINGS).reasons[0]


def test_prompts_too_long_for_one_side_do_not_count() -> None:
    long = {"prompt_id": "prm_long", "reward": None, "kl": None, "finish_reason": "too_long"}
    new = [*answers([1.0]), long]
    found = gate(answers([0.0]), new, SETTINGS)
    assert found.passed
    assert found.numbers["prompts"] == 1


def test_the_same_answers_give_the_same_interval() -> None:
    old, new = answers([0.0, 1.0, 2.0, 5.0]), answers([1.0, 0.0, 4.0, 2.0])
    assert gate(old, new, SETTINGS, seed=3) == gate(old, new, SETTINGS, seed=3)


def test_the_verdict_is_markdown() -> None:
    text = gate_markdown(gate([], [], SETTINGS), "ckp_1", is_promoted=False)
    assert text.startswith("# Gate: not passed\n\nckp_1 is not promoted.\n\n- the candidate")


def cost(calls: int, seconds: float | None) -> dict[str, Any]:
    return {"calls": [0, calls], "seconds": None if seconds is None else [0.0, seconds]}


@pytest.mark.parametrize(
    ("budget", "calls", "seconds", "count"),
    [
        ({}, 10**6, None, 0),
        ({"calls": 10}, 10, None, 0),
        ({"calls": 10}, 11, None, 1),
        ({"calls": 0}, 1, 5.0, 1),
        ({"seconds": 60}, 5, 60.0, 0),
        ({"seconds": 60}, 5, 60.5, 1),
        ({"seconds": 60}, 5, None, 1),
        ({"calls": 1, "seconds": 1}, 5, 5.0, 2),
    ],
)
def test_a_plan_is_held_against_the_budget(
    budget: dict[str, Any], calls: int, seconds: float | None, count: int
) -> None:
    assert len(over_budget(cost(calls, seconds), BudgetSettings(**budget))) == count


def test_gate_and_budget_are_settings_of_the_recipe() -> None:
    found = load("smoke", {"gate.max_kl": 3, "budget.calls": 100})
    assert (found.gate.max_kl, found.budget.calls, found.budget.seconds) == (3.0, 100, None)
    assert load("smoke").gate.max_kl == 20.0
    for wrong in ({"gate.max_kl": 0}, {"budget.calls": -1}, {"budget.dollars": 3}):
        with pytest.raises(InputError):
            load("smoke", wrong)
