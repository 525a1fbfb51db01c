"""The plan against what happens: exact where inputs are known, within its bounds behind a miss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.schema import Constitution
from flows.explain.show import changed, plan_lines
from flows.plan.hands import UNKNOWN_MODEL, UNKNOWN_SERVER
from flows.plan.needs import stage_needs
from flows.plan.plan import Plan
from flows.plan.planner import Planner
from storage.lineage import trace

from .world import World, most_used, prompts_of, reworded


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    world.run(world.inputs)
    return world


def ranges(plan: Plan) -> dict[str, tuple[int, int]]:
    return {name: step.to_generate for name, step in plan.steps.items() if name != "pairs"}


def test_a_fresh_ledger_needs_everything_and_says_so_exactly(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    plan = world.plan(world.inputs)
    assert ranges(plan) == {"drafts": (60, 60), "critiques": (60, 60), "revisions": (60, 60)}
    assert plan.cost["calls"] == [180, 180]
    assert plan.cost["seconds"] is None
    assert world.run(world.inputs) == {"drafts": 60, "critiques0": 60, "revisions0": 60}


def test_windows_change_nothing(tmp_path: Path) -> None:
    """Prompts are walked some at a time; rows, snapshots and the plan are those of all at once."""
    world = World(tmp_path / "home")
    assert sum(world.run(world.inputs, size=7).values()) == 180
    assert world.plan(world.inputs).is_empty
    assert sum(world.run(world.inputs, size=60).values()) == 0


def test_nothing_changed_nothing_to_do(world: World) -> None:
    assert world.plan(world.inputs).is_empty
    assert sum(world.run(world.inputs).values()) == 0


@pytest.mark.parametrize("field", ["critique", "revision"])
def test_an_edited_principle_costs_exactly_its_rows(world: World, field: str) -> None:
    slug = most_used(world)
    edited = world.edit(reworded(slug, field))
    expected = prompts_of(world, slug)
    assert expected >= 3
    plan = world.plan(edited)
    critiques = expected if field == "critique" else 0
    assert ranges(plan) == {
        "drafts": (0, 0),
        "critiques": (critiques, critiques),
        "revisions": (expected, expected),
    }
    assert {cause["component"] for cause in plan.why} == {f"principle:{slug}"}
    assert world.run(edited) == {"drafts": 0, "critiques0": critiques, "revisions0": expected}
    assert world.plan(edited).is_empty
    assert world.plan(world.inputs).is_empty  # undoing an edit is all hits


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, principles=tuple(reversed(c.principles))),
        lambda c: replace(c, principles=tuple(replace(p, title="New") for p in c.principles)),
        lambda c: replace(c, principles=tuple(replace(p, tags=("x",)) for p in c.principles)),
        lambda c: replace(c, name="other", version="2"),
    ],
    ids=["order", "titles", "tags", "name"],
)
def test_what_no_model_reads_costs_nothing(world: World, change: Any) -> None:
    assert world.plan(world.edit(change)).is_empty


def test_a_comparison_question_costs_no_call(world: World) -> None:
    """Nor a row: no request shows it, so nothing is to be made or written down."""
    edited = world.edit(reworded(most_used(world), "comparison"))
    plan = world.plan(edited)
    assert plan.cost["calls"] == [0, 0]
    assert plan.is_empty
    assert sum(world.run(edited).values()) == 0


def test_removing_a_principle_costs_exactly_its_rows(world: World) -> None:
    slug = most_used(world)
    expected = prompts_of(world, slug)
    without = world.edit(
        lambda c: replace(c, principles=tuple(p for p in c.principles if p.slug != slug))
    )
    plan = world.plan(without)
    assert ranges(plan)["critiques"] == (expected, expected)
    assert {cause["component"] for cause in plan.why} == {"assignment"}
    assert world.run(without)["critiques0"] == expected


def test_ten_new_prompts_cost_three_calls_each(world: World) -> None:
    more = world.read(**{"prompts.limit": 70})
    assert ranges(world.plan(more)) == dict.fromkeys(("drafts", "critiques", "revisions"), (10, 10))
    assert sum(world.run(more).values()) == 30


@pytest.mark.parametrize(
    ("unknown", "said"),
    [(UNKNOWN_MODEL, "not yet downloaded"), (UNKNOWN_SERVER, "server not yet asked")],
)
def test_a_model_that_is_not_known_yet_is_said_in_words(unknown: str, said: str) -> None:
    was = "mdl_" + "1" * 32
    for stand_in in (unknown, f"{unknown}-{'0' * 32}"):
        assert changed("model", was, stand_in) == f"because model changed (mdl_11111111 -> {said})"


def test_a_higher_limit_regenerates_what_was_cut(world: World) -> None:
    longer = world.read(**{"generation.max_new_tokens.draft": 96})
    plan = world.plan(longer)
    cut = plan.steps["drafts"].to_generate
    assert 0 < cut[0] == cut[1] < 60
    assert {c["component"] for c in plan.why if c["step"] == "draft"} == {"max_new_tokens"}
    low, high = plan.steps["revisions"].to_generate
    made = world.run(longer)
    assert made["drafts"] == cut[0]
    assert low <= made["revisions0"] <= high


def test_the_second_round_lies_within_the_bounds(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"generation.rounds": 2})
    world.run(world.inputs)
    slug = most_used(world)
    edited = world.edit(reworded(slug, "critique"))
    plan = world.plan(edited)
    first, second = plan.steps["critiques"].rounds
    expected = prompts_of(world, slug)
    also = prompts_of(world, slug, 1)
    assert first["to_generate"] == [expected, expected]
    assert second["to_generate"] == [also, also + expected]
    made = world.run(edited)
    assert made["critiques0"] == expected
    low, high = second["to_generate"]
    assert low <= made["critiques1"] <= high


def test_a_plan_writes_nothing(world: World) -> None:
    before = {p: p.stat().st_mtime_ns for p in world.workspace.root.rglob("*.duckdb")}
    world.plan(world.edit(reworded(most_used(world), "critique")))
    assert {p: p.stat().st_mtime_ns for p in world.workspace.root.rglob("*.duckdb")} == before


def test_another_split_is_another_snapshot(world: World) -> None:
    """Or a checkpoint would be measured on prompts it was trained on."""
    before = world.plan(world.inputs).steps["pairs"].id
    after = world.plan(world.read(**{"prompts.held_out_percent": 50}))
    assert after.steps["pairs"].id != before
    assert not after.is_empty


def test_more_rounds_leave_earlier_snapshots_their_lineage(world: World) -> None:
    def behind(dataset_id: str | None) -> dict[str, int]:
        counts: dict[str, int] = trace(world.ledger, dataset_id or "", "up")["counts"]
        return counts

    first = world.plan(world.inputs).steps["pairs"].id
    before = behind(first)
    assert before["principle"] > 1
    world.run(world.read(**{"generation.rounds": 2}))
    assert behind(first) == before


def test_a_run_that_ends_within_the_first_round_plans_one_round(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"generation.rounds": 3})
    plan = Planner(world.inputs, world.workspace, world.ledger).make("critiques")
    assert ranges(plan) == {"drafts": (60, 60), "critiques": (60, 60)}


def test_the_bounds_of_pairs_hold_after_an_interruption(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    part = world.read(**{"prompts.limit": 40})
    world.run(part)
    with world.ledger.transaction() as con:
        con.execute("DELETE FROM pairs")
    low, high = world.plan(world.inputs).steps["pairs"].to_generate
    world.run(world.inputs)
    made = world.ledger.query("SELECT count(*) AS n FROM pairs")[0]["n"]
    assert low <= made <= high


@pytest.mark.parametrize(
    ("overrides", "change", "component"),
    [
        ({"generation.system": "Be brief."}, None, "system"),
        ({"generation.temperature": 0.5}, None, "sampling"),
        ({}, lambda c: replace(c, examples=c.examples[1:]), "examples"),
    ],
)
def test_the_root_cause_is_named(
    world: World, overrides: dict[str, Any], change: Any, component: str
) -> None:
    inputs = world.read(**overrides)
    if change:
        inputs = replace(inputs, constitution=change(inputs.constitution))
    why = world.plan(inputs).why
    assert why[0]["component"] == component
    assert {cause["root"] for cause in why} == {component}


def test_a_rewrite_that_may_come_back_equal_is_in_the_bounds_only(tmp_path: Path) -> None:
    """A comparison is in no request, so behind a new revision every old critique may serve."""

    def edit(constitution: Constitution) -> Constitution:
        first, *others = reworded(slug, "revision")(constitution).principles
        compared = [replace(p, comparison=p.comparison + " Again.") for p in (first, *others)]
        return replace(constitution, principles=tuple(compared))

    world = World(tmp_path / "home", **{"generation.rounds": 2})
    world.run(world.inputs)
    slug = most_used(world)
    rounds = world.plan(world.edit(edit)).steps["critiques"].rounds
    assert rounds[1]["to_generate"] == [0, prompts_of(world, slug)]


def test_a_principle_met_twice_may_be_answered_by_its_first_round(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"generation.rounds": 2})

    def edit(constitution: Constitution) -> Constitution:
        anyones = [p for p in constitution.principles if not p.applies_to]
        return replace(constitution, principles=tuple(anyones[:1]), examples=())

    one = world.edit(edit)
    rounds = world.plan(one).steps["critiques"].rounds
    assert rounds[1]["to_generate"] == [0, 60]


def test_a_stage_that_falls_names_the_principle_behind_its_data(world: World) -> None:
    before = world.plan(world.inputs).steps["pairs"].id
    with world.ledger.transaction() as con:
        con.execute(
            "INSERT INTO runs (run_id, constitution_id, recipe, settings, state, started_at)"
            " SELECT 'run_test', constitution_id, 'smoke', '{}', 'completed', now()"
            " FROM constitutions"
        )
    slug = most_used(world)
    planner = Planner(world.edit(reworded(slug, "revision")), world.workspace, world.ledger)
    planner._add_why("sft", "dataset", before, "dst_new")
    planner._add_why("dpo", "parents.sft", "ckp_old", "ckp_new")
    planner._add_why("ppo", "code.tasks", "a", "b")
    roots = [cause["root"] for cause in planner.plan.why]
    assert roots == [f"principle:{slug}", f"principle:{slug}", "code.tasks"]


def test_a_system_message_taken_away_is_one_cause(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"generation.system": "Be brief."})
    world.run(world.inputs)
    plan = world.plan(world.read(**{"generation.system": ""}))
    assert [(c["component"], c["is"], c["rows"]) for c in plan.why] == [("system", "(none)", 60)]


def test_a_lower_limit_was_not_too_small(world: World) -> None:
    plan = world.plan(world.read(**{"generation.max_new_tokens.draft": 8}))
    causes = {(c["component"], c["was"], c["is"]) for c in plan.why if c["step"] == "draft"}
    assert causes == {("max_new_tokens", was, "8") for was in ("48", "too large")}


def test_words_that_a_step_does_not_show_are_not_its_cause(world: World) -> None:
    edited = world.edit(reworded(most_used(world), "comparison"))
    fewer = replace(edited.constitution, examples=edited.constitution.examples[1:])
    plan = world.plan(replace(edited, constitution=fewer))
    assert {c["component"] for c in plan.why} == {"examples"}


def test_no_control_character_of_a_cause_reaches_the_terminal(world: World) -> None:
    plan = world.plan(world.read(**{"generation.system": "a \x1b[2J \u202eb"}))
    text = "\n".join(plan_lines(plan))
    assert "system changed" in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_plan_says_which_stages_have_too_few_rows(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"prompts.limit": 3, "evaluation.prompts": 1})
    world.run(world.inputs)
    plan = Planner(world.inputs, world.workspace, world.ledger).make("ppo")
    notes = {name: step.note for name, step in plan.steps.items() if step.note}
    assert list(notes) == ["sft", "reward", "dpo", "ppo"]
    assert f"sft: {notes['sft']}" in list(plan_lines(plan))
    assert "rows are too few to learn from" in notes["ppo"]


def test_a_stage_is_given_all_of_its_settings_and_named_by_those_that_decide(
    world: World,
) -> None:
    """What saves memory or says more often how it goes reaches the training, and no key."""
    free = {"gradient_checkpointing": True, "eval_steps": 3}
    sft = {f"sft.{name}": value for name, value in free.items()}
    other = world.read(**sft, **{"ppo.rollout_batch_size": 8})
    before, after = (stage_needs(inputs, world.rows) for inputs in (world.inputs, other))
    assert free.items() <= after["sft"].settings.items()
    assert after["sft"].settings["learning_rate"] == before["sft"].settings["learning_rate"]
    assert after["sft"].id == before["sft"].id
    assert after["ppo"].settings["rollout_batch_size"] == 8
    assert after["ppo"].id != before["ppo"].id
