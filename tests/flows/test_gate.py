"""Gates in the ledger, what moves the champion, what a recipe may ask; what a budget allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.explain.lineage_text import judged_lines
from flows.explain.why import judged
from flows.plan import gates
from flows.plan.evaluation_parts import GateSettings
from flows.plan.input_checks import check_inputs
from flows.plan.parts import BudgetSettings
from flows.plan.read_inputs import inputs_of
from flows.plan.recipe import Recipe, load
from flows.run.gate import conclude
from flows.run.session import Session
from flows.run.verdicts import judge_policies
from flows.serve.approval import over_budget
from storage.errors import InputError
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.refs import history, set_ref
from tasks.training.settings import WEIGHT_CHANGE

STAGES = ("sft", "reward", "dpo", "ppo")
CHECKPOINTS = {stage: content_id("checkpoint", stage) for stage in STAGES}
EVALUATION = content_id("evaluation", "one")
SETTINGS = GateSettings()
RULES = {"base": 0.5, "sft": 0.6, "dpo": 0.3, "ppo": 0.7}  # DPO is worse than the base


def checkpoint(checkpoint_id: str, stage: str, parents: dict[str, str]) -> dict[str, Any]:
    return {
        "checkpoint_id": checkpoint_id,
        "base_model_id": "mdl_1",
        "dataset_id": "dst_1",
        "run_id": "run_1",
        "parent_ids": list(parents.values()),
        "parent_roles": list(parents),
        "stage": stage,
        "components": "{}",
        "path": "",
        "duration_s": 1.0,
        "created_at": now(),
    }


def metric(policy: str, name: str, value: float) -> dict[str, Any]:
    ends = {"low": value - 0.05, "high": value + 0.05, "sample_count": 20}
    return {"subject_id": EVALUATION, "name": f"{policy}/{name}", "step": -1, "value": value} | ends


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One evaluation of four checkpoints, with figures and no models."""
    known = Ledger(tmp_path / "ledger.duckdb")
    made = [checkpoint(CHECKPOINTS[stage], stage, {}) for stage in STAGES]
    values = [metric(policy, "rules", value) for policy, value in RULES.items()]
    values += [metric(policy, "tokens", 50.0) for policy in RULES]
    for policy in ("sft", "dpo", "ppo"):
        gap = RULES[policy] - RULES["base"]
        values += [
            metric(policy, "rules_minus_base", gap),
            metric(policy, "tokens_minus_base", 0.0),
        ]
        values += [metric(policy, "rules_minus_parent", gap and RULES[policy] - RULES["sft"])]
    with known.transaction() as con:
        insert(con, "checkpoints", [*made, checkpoint(EVALUATION, "evaluate", CHECKPOINTS)])
        insert(con, "metrics", values)
    changed(known)
    return known


def changed(ledger: Ledger, **by: float) -> None:
    rows = [
        {"subject_id": found, "name": WEIGHT_CHANGE, "step": -1, "value": by.get(stage, 0.1)}
        for stage, found in CHECKPOINTS.items()
    ]
    with ledger.transaction() as con:
        insert(con, "metrics", rows, replace=True)


def passing(ledger: Ledger) -> set[str]:
    """The policies that pass, as the ledger has it."""
    judge_policies(ledger, EVALUATION, SETTINGS)
    rows = gates.kept(ledger, EVALUATION)
    return {row["policy"] for row in rows} - {r["policy"] for r in rows if not r["is_passed"]}


def test_every_trained_policy_is_judged_and_the_verdicts_are_kept(ledger: Ledger) -> None:
    assert passing(ledger) == {"sft", "ppo"}
    rows = gates.kept(ledger, EVALUATION)
    assert {row["policy"]: row["checkpoint_id"] for row in rows} == {
        stage: CHECKPOINTS[stage] for stage in ("sft", "dpo", "ppo")
    }
    worse = next(row for row in rows if row["policy"] == "dpo" and not row["is_passed"])
    assert worse["rule"] == {"no_worse_than": "champion", "margin": 0.0}
    assert worse["value"] == pytest.approx(-0.2)
    assert "worse than the base (there is no champion yet)" in worse["reason"]


def test_judging_twice_keeps_what_is_there_and_other_rules_replace_it(ledger: Ledger) -> None:
    judge_policies(ledger, EVALUATION, SETTINGS)
    before = ledger.query("SELECT * FROM gates ORDER BY number")
    judge_policies(ledger, EVALUATION, SETTINGS)
    assert ledger.query("SELECT * FROM gates ORDER BY number") == before
    judge_policies(ledger, EVALUATION, GateSettings(rules={"rules": None, "tokens": None}))
    after = ledger.query("SELECT metric FROM gates ORDER BY number")
    assert [row["metric"] for row in after] == ["weights", "questions"] * 3


@pytest.mark.parametrize(
    ("stage", "still"), [("sft", {"sft", "dpo", "ppo"}), ("reward", {"ppo"}), ("ppo", {"ppo"})]
)
@pytest.mark.parametrize("change", [0.0, float("nan")])
def test_a_training_that_changed_no_weight_fails_what_is_made_from_it(
    ledger: Ledger, stage: str, still: set[str], change: float
) -> None:
    changed(ledger, **{stage: change})
    assert passing(ledger) == {"sft", "ppo"} - still


def test_an_evaluation_never_heard_of_judges_nobody(ledger: Ledger) -> None:
    assert judge_policies(ledger, content_id("evaluation", "other"), SETTINGS) == []
    assert gates.told(ledger, None, "ppo") == {"verdict": None, "gates": []}


def test_why_says_whether_a_checkpoint_passes_and_what_it_misses(ledger: Ledger) -> None:
    judge_policies(ledger, EVALUATION, SETTINGS)
    with ledger.transaction() as con:
        worse, better = judged(con, CHECKPOINTS["dpo"]), judged(con, CHECKPOINTS["ppo"])
        assert {row["policy"] for row in judged(con, EVALUATION)} == {"sft", "dpo", "ppo"}
        assert judged(con, CHECKPOINTS["reward"]) == []
    lines = list(judged_lines(worse))
    assert lines[0] == f"dpo misses 2 of {len(worse)} gates ({EVALUATION[:12]})"
    assert "share of rules kept 0.30 against 0.50" in lines[1]
    assert list(judged_lines(better)) == [f"ppo passes every gate ({EVALUATION[:12]})"]


@pytest.fixture
def concluded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A run that ended with this evaluation, before its gate."""
    shown: list[str] = []
    monkeypatch.setattr("flows.run.gate.publish_markdown", lambda key, text, *_: shown.append(text))

    def of(candidate: str, is_wanted: bool = True) -> dict[str, Any]:
        recipe = SimpleNamespace(gate=GateSettings(candidate=candidate), name="demo")
        inputs = SimpleNamespace(constitution_id=content_id("constitution", "one"))
        session = SimpleNamespace(ledger=ledger, recipe=recipe, inputs=inputs, run_id="run_1")
        judge_policies(ledger, EVALUATION, recipe.gate)
        result = {"checkpoints": CHECKPOINTS} | gates.told(ledger, EVALUATION, candidate)
        found = conclude(cast(Session, session), result, is_wanted, "Ada")
        return found | {"shown": shown[-1]}

    return of


def test_a_candidate_that_passes_becomes_champion(
    ledger: Ledger, concluded: Callable[..., dict[str, Any]]
) -> None:
    found = concluded("ppo")
    assert found["gate"]["passed"]
    assert found["champion"] == CHECKPOINTS["ppo"]
    assert found["shown"].startswith("# PPO keeps 0.70 of the rules where the base keeps 0.50")
    assert "is the champion now" in found["shown"]
    (move,) = history(ledger, "champion")
    assert (move["author"], move["is_forced"]) == ("Ada", False)
    assert move["note"].startswith("PPO keeps 0.70 of the rules")


def test_a_candidate_that_fails_does_not_nor_one_that_nobody_wants(
    ledger: Ledger, concluded: Callable[..., dict[str, Any]]
) -> None:
    found = concluded("dpo")
    assert not found["gate"]["passed"]
    assert found["champion"] is None
    assert "dpo" in found["gate"]["policy"]
    assert all("worse than" in reason for reason in found["gate"]["reasons"])
    assert (
        "# DPO keeps 0.30 of the rules where the base keeps 0.50: not promoted." in found["shown"]
    )
    assert "is not promoted" in found["shown"]
    assert concluded("ppo", is_wanted=False)["champion"] is None


def test_the_champion_moves_by_hand_to_what_passed_or_by_force(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no evaluation has judged") as caught:
        set_ref(ledger, "champion", CHECKPOINTS["sft"], "Ada")
    assert caught.value.exit_code == 2
    judge_policies(ledger, EVALUATION, SETTINGS)
    set_ref(ledger, "champion", CHECKPOINTS["sft"], "Ada", "try", is_forced=True)
    assert not history(ledger, "champion")[0]["is_forced"]  # it took none
    with pytest.raises(InputError, match=r"does not pass its gates \(share of rules.*--force"):
        set_ref(ledger, "champion", CHECKPOINTS["dpo"], "Ada")
    set_ref(ledger, "env/trial", CHECKPOINTS["dpo"], "Ada")
    set_ref(ledger, "champion", CHECKPOINTS["dpo"], "Ada", "for the demo", is_forced=True)
    last = history(ledger, "champion")[0]
    assert (last["target_id"], last["is_forced"]) == (CHECKPOINTS["dpo"], True)
    assert (last["author"], last["note"]) == ("Ada", "for the demo")


def test_a_champion_that_was_not_measured_stands(ledger: Ledger) -> None:
    point(ledger, "champion", content_id("checkpoint", "other"))
    assert passing(ledger) == set()
    told = gates.told(ledger, EVALUATION, "ppo")
    missed = [gate["reason"] for gate in told["gates"] if not gate["is_passed"]]
    assert "share of rules kept was not measured beside the champion" in missed


def test_a_champion_of_this_run_is_no_worse_than_itself(ledger: Ledger) -> None:
    point(ledger, "champion", CHECKPOINTS["ppo"])
    assert "ppo" in passing(ledger)


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
    changes = {"gate.rules.tokens.max_ratio": 2, "gate.candidate": "dpo", "budget.calls": 100}
    found = load("smoke", changes | {"gate.rules.overused": None})
    assert (found.gate.candidate, found.budget.calls, found.budget.seconds) == ("dpo", 100, None)
    rules = {rule.metric: rule for rule in found.gate.in_force()}
    assert (rules["tokens"].max_ratio, rules["tokens"].min_ratio) == (2.0, 0.75)
    assert rules["overused"].max is None
    assert Recipe.model_validate(found.model_dump()) == found
    assert load("smoke").gate.candidate == "ppo"
    one = load("smoke", {"gate.rules.rules": {"no_worse_than": "parent"}})
    assert one.gate.in_force()[0].no_worse_than == ("parent",)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gate.max_kl": 3}, "max_kl is a rule now: write rules.kl.max=3"),
        ({"gate.rules.helpfulness.min": 0.5}, "helpfulness: no metric has this name; use"),
        ({"gate.rules.tokens.excused_by": "luck"}, "luck: no metric has this name"),
        ({"gate.rules.tokens.no_worse_than": "base"}, "use min_ratio, max_ratio or max_rise"),
        ({"gate.rules.rules.no_worse_than": "yesterday"}, "gate.rules.rules.no_worse_than"),
        ({"gate.rules.rules.least": 3}, "gate.rules.rules.least: no recipe has this key"),
        ({"gate.candidate": "reward"}, "gate.candidate"),
        ({"budget.calls": -1}, "budget.calls"),
        ({"budget.dollars": 3}, "budget.dollars: no recipe has this key"),
    ],
)
def test_a_gate_that_cannot_be_is_bad_input(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load("smoke", wrong)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("probe:luck", "no probe has this name; there are boilerplate, format,"),
        ("stability:luck", "no probe has this name"),
        ("rule:luck", "no enabled principle with a check has this name; there are "),
    ],
)
def test_a_rule_on_what_nobody_knows_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, words: str
) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path))
    inputs, _, _ = inputs_of("smoke", {f"gate.rules.{metric}.min": 0.5})
    with pytest.raises(InputError, match=f"gate.rules: {metric}: {words}"):
        check_inputs(inputs, None)
    check_inputs(inputs_of("smoke", {"gate.rules.probe:harmful.min": 0.5})[0], None)
