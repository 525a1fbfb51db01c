"""Pairs of every source, judged by programs and by a judge: planned, then made, then edited."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.schema import Constitution
from flows.plan.input_checks import check_inputs
from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from storage.errors import InputError
from storage.lineage import trace
from tasks.generation.memo import look_up
from tasks.generation.walk import walk
from tasks.prompts import is_held_out

from .world import EVERY_SOURCE, JUDGE, World, reworded

pytestmark = pytest.mark.slow  # a minute of planning and making rows, with no model


def made_of(tmp_path: Path, **overrides: Any) -> World:
    world = World(tmp_path / "home", **(EVERY_SOURCE | overrides))
    world.run(world.inputs, engine=JUDGE)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return made_of(tmp_path, constitution="checkable")


def calls(plan: Plan) -> tuple[int, int]:
    low, high = plan.cost["calls"]
    return low, high


def assert_planned(world: World, inputs: Inputs) -> dict[str, int]:
    """Whether the plan is what happens, and nothing is to be done after it; what was made."""
    low, high = calls(world.plan(inputs))
    made = world.run(inputs, engine=JUDGE)
    assert low <= sum(made.values()) <= high
    assert world.plan(inputs).is_empty
    return made


def test_a_fresh_ledger_asks_for_every_source(tmp_path: Path) -> None:
    world = World(tmp_path / "home", constitution="checkable", **EVERY_SOURCE)
    plan = world.plan(world.inputs)
    method = world.inputs.method
    sources = [method.source(prompt) for prompt in world.inputs.prompts]
    revised, distilled, compared = (
        sources.count(s) for s in ("revision", "distilled", "candidates")
    )
    assert min(revised, distilled, compared) > 5
    assert plan.steps["samples"].to_generate == (4 * (2 * distilled + compared),) * 2
    assert plan.steps["drafts"].to_generate == (revised, revised)
    most = 2 * (revised + distilled) + 2 * 6 * compared + 64  # of the report card
    assert plan.steps["comparisons"].to_generate == (0, most)
    made = assert_planned(world, world.inputs)
    assert 0 < made["comparisons"] <= most


def test_nothing_changed_nothing_to_do(world: World) -> None:
    assert sum(world.run(world.inputs, engine=JUDGE).values()) == 0


def test_every_pair_has_a_label_that_says_who_gave_it(world: World) -> None:
    unlabelled = world.ledger.query("SELECT 1 FROM pairs ANTI JOIN labels USING (pair_id)")
    assert unlabelled == []
    kinds = world.ledger.query(
        "SELECT given_by, count(*) AS n, bool_and(preference = 1) AS is_sure,"
        " count(rule) AS rules, count(comparison_id) AS comparisons FROM labels GROUP BY 1"
    )
    found = {row["given_by"]: row for row in kinds}
    assert set(found) == {"program", "judge"}
    assert found["program"]["is_sure"]
    assert found["program"]["rules"] == found["program"]["n"]
    assert found["judge"]["comparisons"] == found["judge"]["n"]
    assert not found["judge"]["is_sure"]


def test_a_soft_label_is_the_pairs_preference(world: World) -> None:
    soft = world.ledger.query(
        "SELECT p.preference FROM pairs p SEMI JOIN ("
        "FROM labels WHERE given_by = 'judge') l USING (pair_id)"
    )
    assert soft
    assert all(0.5 < row["preference"] < 1 for row in soft)


def test_teaching_is_told_by_the_plan(world: World) -> None:
    teaching = world.plan(world.inputs).teaching
    assert teaching is not None
    assert teaching.share == 1.0
    assert set(teaching.by_evidence) == {"program", "judge"}
    assert set(teaching.by_source) == {"revision", "distilled", "candidates"}


@pytest.mark.parametrize("field", ["critique", "revision", "comparison", "title"])
def test_an_edit_costs_what_shows_the_words(world: World, field: str) -> None:
    slug = "two-sentences"
    made = assert_planned(world, world.edit(reworded(slug, field)))
    touched = {step for step, count in made.items() if count}
    assert (
        touched
        <= {
            "critique": {"critiques0", "revisions0", "comparisons"},
            "revision": {"revisions0", "comparisons"},
            "comparison": {"comparisons"},
            "title": {"samples", "comparisons"},
        }[field]
    )
    shown = [p for p in world.inputs.prompts if world.inputs.method.source(p) == "distilled"]
    if field == "title":
        taught = sum(slug in {p.slug for p in world.inputs.method.shown_to(s)} for s in shown)
        assert made["samples"] == 4 * taught > 0
    assert sum(made.values()) > 0


def test_a_worked_answer_costs_its_teachers_calls_only(world: World) -> None:
    def fewer(constitution: Constitution) -> Constitution:
        return replace(
            constitution,
            principles=tuple(
                replace(p, examples=p.examples[:1]) if p.slug == "sixty-words" else p
                for p in constitution.principles
            ),
        )

    made = assert_planned(world, world.edit(fewer))
    method = world.inputs.method
    taught = [
        p
        for p in world.inputs.prompts
        if method.source(p) == "distilled" and "sixty-words" in {s.slug for s in method.shown_to(p)}
    ]
    assert made["samples"] == 4 * len(taught) > 0
    assert made["drafts"] == made["critiques0"] == 0


def test_more_samples_cost_those_that_are_new(world: World) -> None:
    more = world.read(**{"pairs.samples": 5})
    method = more.method
    sources = [method.source(p) for p in more.prompts]
    made = assert_planned(world, more)
    assert made["samples"] == 2 * sources.count("distilled") + sources.count("candidates")


def test_a_student_may_answer_less_often_than_its_teacher(world: World) -> None:
    fewer = world.read(**{"pairs.student_samples": 1, "pairs.samples": 5})
    sources = [fewer.method.source(p) for p in fewer.prompts]
    made = assert_planned(world, fewer)
    assert made["samples"] == sources.count("distilled") + sources.count("candidates")
    prompt = next(p for p in fewer.prompts if fewer.method.source(p) == "distilled")
    (pool,) = walk(fewer.method, [prompt], lambda level: look_up(world.ledger, level.calls)).pools
    assert (len(pool.better), len(pool.worse)) == (5, 1)


def test_another_margin_or_clamp_costs_no_call(world: World) -> None:
    for setting in ({"judge.abstain": 0.9}, {"judge.clamp": [0.3, 0.7]}):
        assert sum(world.run(world.read(**setting), engine=JUDGE).values()) == 0


def test_without_evidence_nothing_is_made_for_training(tmp_path: Path) -> None:
    """No check and no judge: no pair can have a label, which is said before anything is asked."""
    world = World(tmp_path / "home", **{"pairs.evidence": "required"})
    check_inputs(world.inputs, "revisions")
    check_inputs(world.read(**{"judge.use": True}), None)
    with pytest.raises(InputError, match="no pair can have evidence"):
        check_inputs(world.inputs, "pairs")


def test_lineage_goes_through_labels_to_comparisons_and_principles(world: World) -> None:
    (row,) = world.ledger.query(
        "SELECT min(pair_id) AS pair_id FROM pairs JOIN labels USING (pair_id)"
        " WHERE given_by = 'judge' AND source = 'candidates'"
    )
    counts = trace(world.ledger, row["pair_id"], "up")["counts"]
    assert counts["comparison"] > 0
    assert counts["completion"] >= 2
    assert counts["principle"] > 0
    (row,) = world.ledger.query(
        "SELECT min(example_id) AS example_id FROM examples WHERE source = 'distilled'"
    )
    assert trace(world.ledger, row["example_id"], "up")["counts"]["few_shot"] == 1


SAID = [
    {"prompt": "Is the sea salty?", "chosen": "Yes, it is salty.", "rejected": "No."},
    {"prompt": "Why?", "first": "So.", "second": "Because it rains.", "label": 2},
]


def said(tmp_path: Path, *more: dict[str, Any]) -> str:
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (*SAID, *more)), encoding="utf-8")
    return str(path)


def test_what_people_said_is_pairs_of_their_own(tmp_path: Path) -> None:
    world = made_of(tmp_path, constitution="checkable", **{"pairs.people": said(tmp_path)})
    rows = world.ledger.query(
        "SELECT chosen, rejected, chosen_completion_id, given_by FROM pairs"
        " JOIN labels USING (pair_id) WHERE source = 'people' ORDER BY chosen"
    )
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("Because it rains.", "So."),
        ("Yes, it is salty.", "No."),
    ]
    assert {(row["chosen_completion_id"], row["given_by"]) for row in rows} == {(None, "people")}
    teaching = world.plan(world.inputs).teaching
    assert teaching is not None
    assert teaching.by_source["people"] == sum(
        not is_held_out(pair.prompt.prompt_id, 20) for pair in world.inputs.people.judged[0].pairs
    )
    assert world.plan(world.inputs).is_empty


def test_people_outrank_programs(tmp_path: Path, world: World) -> None:
    """Verdicts on pairs of a program, the other way round, by the very texts."""
    decided = world.ledger.query(
        "SELECT p.messages, x.chosen, x.rejected FROM pairs x"
        " JOIN labels USING (pair_id) JOIN prompts p ON p.prompt_id = x.prompt_id"
        " WHERE given_by = 'program' AND x.source = 'distilled' ORDER BY x.pair_id"
    )
    verdicts = [
        {"messages": json.loads(r["messages"]), "chosen": r["rejected"], "rejected": r["chosen"]}
        for r in decided
    ]
    told = world.read(**{"pairs.people": said(tmp_path, *verdicts)})
    world.run(told, engine=JUDGE)
    found = world.ledger.query(
        "SELECT chosen, rejected, bool_and(given_by = 'people') AS is_theirs FROM pairs"
        " JOIN labels USING (pair_id) WHERE source = 'distilled' GROUP BY ALL"
    )
    turned = {(row["rejected"], row["chosen"]) for row in decided}
    now = [row for row in found if (row["chosen"], row["rejected"]) in turned]
    assert now
    assert all(row["is_theirs"] for row in now)


def test_a_bad_row_of_theirs_is_left_out_and_told(tmp_path: Path, world: World) -> None:
    bad = {"prompt": "Why?", "chosen": "So."}
    path = said(tmp_path, bad)
    told = world.read(**{"pairs.people": path})
    check_inputs(told, "pairs")
    (left_out,) = told.left_out
    assert (left_out.row_id, left_out.step, left_out.reason) == (f"{path}:3", "people", "malformed")
    assert told.notes[0].startswith(f"{path}: 1 of 3 rows are left out (malformed 1): row 3: ")
    Path(path).write_text(json.dumps(bad), encoding="utf-8")
    with pytest.raises(InputError, match=r"people\.jsonl: holds no pair in 1 rows; row 1: needs"):
        check_inputs(world.read(**{"pairs.people": path}), "pairs")
