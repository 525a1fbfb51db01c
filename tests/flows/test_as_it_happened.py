"""What happened stays as it happened: lineage is written when a row is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.explain.compare.report import Side
from flows.explain.compare.snapshots import compare
from flows.explain.dataset_card import PRINCIPLES
from flows.explain.row_story import story_lines
from flows.explain.why import story
from flows.run.results import nothing_done
from storage.lineage import trace
from tasks.engines.engine import Batch, Continuation, Score
from tasks.generation.calls import principle_id
from tasks.generation.record_rows import record_teaching
from tasks.generation.teaching import Lesson, Teaching

from .world import JUDGE, Judging, World, most_used, reworded

SETTINGS = {"prompts.limit": 8, "pairs.evidence": "presumed"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home", **SETTINGS)
    world.run(world.inputs)
    return world


def prompts_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_words_that_come_to_rows_that_are_there_made_none_of_them(tmp_path: Path) -> None:
    """Two rules of the same words: where one leaves, the other is met and asks the same."""
    world = World(tmp_path / "home", **SETTINGS)
    slug = most_used(world)
    rule = world.inputs.constitution.principle(slug)

    def only(name: str) -> Any:
        return lambda constitution: replace(constitution, principles=(replace(rule, slug=name),))

    world.run(world.edit(only("old-name")))
    rows = world.rows.preferences.dataset_id, world.rows.sft.dataset_id
    made = world.run(world.edit(only("new-name")))
    assert sum(made.values()) == 0
    assert rows == (world.rows.preferences.dataset_id, world.rows.sft.dataset_id)
    for dataset_id in rows:
        behind = trace(world.ledger, dataset_id, "up")["nodes"].values()
        assert [n["label"] for n in behind if n["kind"] == "principle"] == ["old-name"]
        card = world.ledger.query(PRINCIPLES, [dataset_id])
        assert [row["slug"] for row in card] == ["old-name"]
        assert dataset_id not in trace(world.ledger, "new-name", "down")["nodes"]


def test_a_question_that_is_asked_anew_made_nothing_that_was_there(tmp_path: Path) -> None:
    """A judge that says the same to new words for its question: the pairs stay, and their story."""
    world = World(tmp_path / "home", **SETTINGS, **{"judge.use": True})
    world.run(world.inputs, engine=JUDGE)
    snapshot = world.rows.preferences.dataset_id
    before = trace(world.ledger, snapshot, "up")
    card = world.ledger.query(PRINCIPLES, [snapshot])
    slug = most_used(world)
    edited = world.edit(reworded(slug, "comparison"))
    assert world.run(edited, engine=JUDGE)["comparisons"] > 0
    assert world.rows.preferences.dataset_id == snapshot
    assert trace(world.ledger, snapshot, "up") == before
    assert world.ledger.query(PRINCIPLES, [snapshot]) == card
    new = principle_id(edited.constitution.principle(slug))
    assert set(trace(world.ledger, new, "down")["counts"]) == {"comparison"}
    asked = "SELECT DISTINCT c.principle_id = l.principle_id AS is_same FROM labels l"
    asked += " JOIN comparisons c USING (comparison_id)"
    assert [row["is_same"] for row in world.ledger.query(asked)] == [True]


class Longer(Judging):
    """A judge that prefers what the other does not."""

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        for batch in super().score(continuations):
            yield Batch([replace(item, value=-item.value) for item in batch.items], 0.0)


def test_a_pair_that_was_turned_round_is_still_of_its_revision(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **SETTINGS, **{"judge.use": True})
    world.run(world.inputs, engine=JUDGE)
    before = world.rows.preferences.dataset_id
    for principle in world.inputs.constitution.principles:
        world.inputs = world.edit(reworded(principle.slug, "comparison"))
    world.run(world.inputs, engine=Longer())
    after = world.rows.preferences.dataset_id
    one, other = (Side(name, "snapshot", name, "") for name in (before, after))
    found = compare(world.ledger, one, other, 20)
    turned = [text for text in found.texts if text.is_flip]
    assert turned
    for text in turned:
        assert text.a
        assert text.b
        assert text.b.principle == text.a.principle is not None


def test_words_that_a_teacher_is_not_shown_made_none_of_its_answers(tmp_path: Path) -> None:
    shares = {"pairs.shares.revision": 0, "pairs.shares.distilled": 1}
    world = World(tmp_path / "home", **SETTINGS, **shares)
    world.run(world.inputs)
    snapshot = world.rows.preferences.dataset_id
    before = trace(world.ledger, snapshot, "up")
    for slug in [principle.slug for principle in world.inputs.constitution.principles]:
        world.inputs = world.edit(reworded(slug, "critique"))
    assert sum(world.run(world.inputs).values()) == 0
    assert trace(world.ledger, snapshot, "up") == before
    for principle in world.inputs.constitution.principles:
        assert trace(world.ledger, principle_id(principle), "down")["counts"] == {}


def test_prompts_that_ask_the_same_have_each_their_own_story(tmp_path: Path) -> None:
    """A system turn of one's own, and the recipe's before a prompt without."""
    asked = {"role": "user", "content": "What is a map?"}
    system = {"role": "system", "content": "Be brief."}
    rows = [{"messages": [asked]}, {"messages": [system, asked]}]
    settings = SETTINGS | {"prompts.path": str(prompts_file(tmp_path / "p.jsonl", rows))}
    world = World(tmp_path / "home", **settings, **{"generation.system": "Be brief."})
    rule = world.inputs.constitution.principle(most_used(world))
    made = world.run(world.edit(lambda c: replace(c, principles=(rule,))))
    assert made["drafts"] == 1
    revised = world.ledger.query("SELECT * FROM revisions")
    assert len({row["response_completion_id"] for row in revised}) == 1
    assert len({row["prompt_id"] for row in revised}) == 2
    for row in revised:
        with world.ledger.transaction() as con:
            told = story(con, row["revision_id"])
        assert told
        assert [link["step"] for link in told["links"]] == ["draft", "critique", "revision"]
    for row in world.ledger.query("SELECT * FROM examples"):
        nodes = trace(world.ledger, row["example_id"], "up")["nodes"]
        assert row["prompt_id"] in nodes
        assert row["example_id"] in trace(world.ledger, row["prompt_id"], "down")["nodes"]


def test_a_revision_that_was_cut_is_told_as_it_was_cut(tmp_path: Path) -> None:
    limit = "generation.max_new_tokens.revision"
    world = World(tmp_path / "home", **SETTINGS, **{limit: 12})
    world.run(world.inputs)
    cut = "SELECT r.*, c.text FROM revisions r JOIN completions c"
    cut += " ON c.completion_id = r.revision_completion_id WHERE c.cut_at = 12 ORDER BY ALL"
    before = world.ledger.query(cut)
    world.run(world.read(**{limit: 24}))
    assert before
    for row in before:
        with world.ledger.transaction() as con:
            told = story(con, row["revision_id"])
        assert told
        assert (told["links"][-1]["text"], told["links"][-1]["cut_at"]) == (row["text"], 12)
        text = "\n".join(str(line) for line in story_lines(told))
        assert "; cut at the limit of 12 tokens" in text


def test_what_a_file_says_of_a_prompt_now_reaches_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    rows = [{"prompt": f"Question {n}?", "category": "plain"} for n in range(3)]
    world = World(tmp_path / "home", **SETTINGS | {"prompts.path": str(prompts_file(path, rows))})
    world.run(world.inputs)
    rows[1]["category"] = "odd"
    prompts_file(path, rows[1:])
    world.run(world.read())
    told = "SELECT messages->-1->>'content' AS q, category, source_line AS line FROM prompts"
    found = [tuple(row.values()) for row in world.ledger.query(f"{told} ORDER BY q")]
    assert found == [
        ("Question 0?", "plain", 1),
        ("Question 1?", "odd", 1),
        ("Question 2?", "plain", 2),
    ]


def test_so_it_does_where_there_is_nothing_to_do(tmp_path: Path) -> None:
    path = prompts_file(tmp_path / "p.jsonl", [{"prompt": "Question?", "category": "plain"}])
    world = World(tmp_path / "home", **SETTINGS | {"prompts.path": str(path)})
    rule = replace(world.inputs.constitution.principles[0], applies_to=())
    world.run(world.edit(lambda c: replace(c, principles=(rule,))))
    gone = Teaching(lessons={"gone": Lesson(prompts=1)})
    record_teaching(world.ledger, world.rows.preferences.dataset_id, gone)
    prompts_file(path, [{"prompt": "Question?", "category": "odd"}])
    world.inputs = world.read()
    inputs = world.edit(lambda c: replace(c, principles=(rule,)))
    plan = world.plan(inputs)
    assert plan.is_empty
    nothing_done(plan, inputs, world.workspace)
    assert world.ledger.query("SELECT category FROM prompts") == [{"category": "odd"}]
    found = world.ledger.query(
        "SELECT DISTINCT split_part(name, '/', 2) AS slug FROM metrics WHERE name LIKE 'lesson/%'"
    )
    assert found == [{"slug": rule.slug}]


def test_a_rule_that_left_takes_its_figures_along(world: World) -> None:
    snapshot = world.rows.preferences.dataset_id
    for slugs in (("stays", "leaves"), ("stays",)):
        lessons = {slug: Lesson(prompts=1) for slug in slugs}
        record_teaching(world.ledger, snapshot, Teaching(lessons=lessons))
    found = world.ledger.query("SELECT name FROM metrics WHERE name LIKE 'lesson/%/prompts'")
    assert [row["name"] for row in found] == ["lesson/stays/prompts"]
