"""The story of a row: its chain in order, and why it was generated when it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.schema import Constitution
from flows.explain.row_story import story_lines
from flows.explain.why import story
from storage.ledger import Ledger
from storage.lineage import trace
from tasks.generation.calls import principle_id

from .world import World, most_used, reworded

Told = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two rounds of every prompt."""
    world = World(tmp_path / "home", **{"generation.rounds": 2, "prompts.limit": 24})
    world.run(world.inputs)
    return world


def tell(ledger: Ledger, row_id: str) -> Told:
    with ledger.transaction() as con:
        told = story(con, row_id)
    assert told is not None
    return told


def newest(world: World, sql: str, **values: Any) -> str:
    rows = world.ledger.query(sql, list(values.values()))
    assert rows
    return str(rows[0]["id"])


def revision_of(world: World, slug: str, column: str = "revision_completion_id") -> str:
    """The newest id in a column of `revisions`, of round 0 under a principle."""
    return newest(
        world,
        f"SELECT {column} AS id FROM revisions JOIN principles USING (principle_id)"
        f" WHERE slug = ? AND round = 0 AND {column} IS NOT NULL"
        " ORDER BY revisions.created_at DESC, id LIMIT 1",
        slug=slug,
    )


def places(told: Told) -> list[tuple[str, int | None]]:
    return [(link["step"], link["round"]) for link in told["links"]]


def after(pieces: list[dict[str, str]], but: str = "removed") -> str:
    return "".join(piece["text"] for piece in pieces if piece["kind"] != but)


def added(pieces: list[dict[str, str]]) -> str:
    return "".join(piece["text"] for piece in pieces if piece["kind"] == "added")


CHAIN = [("draft", None), ("critique", 0), ("revision", 0), ("critique", 1), ("revision", 1)]


def test_a_pair_tells_its_chain_and_why_one_response_is_chosen(world: World) -> None:
    told = tell(world.ledger, newest(world, "SELECT pair_id AS id FROM pairs ORDER BY id LIMIT 1"))
    assert places(told) == CHAIN
    links, row = told["links"], told["row"]
    assert row["chosen"]["completion_id"] == links[-1]["completion_id"]
    assert row["rejected"]["completion_id"] == links[0]["completion_id"]
    assert row["principle"] == links[-1]["principle"] == links[-2]["principle"]
    assert row["critique"] == links[-2]["text"]
    assert links[1]["text"] in links[2]["request"]
    assert links[2]["text"] in links[3]["request"]
    assert links[1]["worked_examples"] == len(world.inputs.constitution.examples)
    assert told["why"]["is_first"]
    assert told["prompt"]["messages"][-1]["content"] in links[-1]["request"]


def test_a_completion_ends_its_own_chain(world: World) -> None:
    slug = most_used(world)
    critique = revision_of(world, slug, "critique_completion_id")
    assert places(tell(world.ledger, critique)) == CHAIN[:2]
    draft = revision_of(world, slug, "response_completion_id")
    assert places(tell(world.ledger, draft)) == CHAIN[:1]
    revision = revision_of(world, slug, "revision_id")
    assert places(tell(world.ledger, revision)) == CHAIN[:3]
    example = revision_of(world, slug, "example_id")
    assert tell(world.ledger, example)["row"]["response"]


def test_an_edited_principle_is_the_cause_and_its_words_are_the_difference(world: World) -> None:
    slug = most_used(world)
    world.run(world.edit(reworded(slug, "critique")))
    why = tell(world.ledger, revision_of(world, slug))["why"]
    assert why["component"] == why["root"]["component"] == f"principle:{slug}"
    assert list(why["principle_difference"]) == ["critique"]
    assert added(why["principle_difference"]["critique"]) == " Again."
    last = tell(world.ledger, revision_of(world, slug))["links"][-1]
    assert after(why["request_difference"]) == last["request"]
    before = tell(world.ledger, why["before"]["completion_id"])["links"][-1]
    assert after(why["request_difference"], but="added") == before["request"]


def test_what_lies_behind_an_edit_names_its_root(world: World) -> None:
    slug = most_used(world)
    world.run(world.edit(reworded(slug, "critique")))
    later = newest(
        world,
        "SELECT b.revision_id AS id FROM revisions a JOIN revisions b"
        " ON b.response_completion_id = a.revision_completion_id AND b.round = 1"
        " JOIN principles p ON p.principle_id = a.principle_id"
        " JOIN completions c ON c.completion_id = b.revision_completion_id"
        " WHERE p.slug = ? AND a.round = 0 ORDER BY c.created_at DESC, id LIMIT 1",
        of=slug,
    )
    why = tell(world.ledger, later)["why"]
    assert why["component"] == "upstream"
    assert (why["root"]["component"], why["root"]["round"]) == (f"principle:{slug}", 0)
    assert added(why["principle_difference"]["critique"]) == " Again."


def without(slug: str) -> Callable[[Constitution], Constitution]:
    def change(constitution: Constitution) -> Constitution:
        kept = tuple(p for p in constitution.principles if p.slug != slug)
        return replace(constitution, principles=kept)

    return change


@pytest.mark.parametrize(
    ("overrides", "change", "component"),
    [
        ({"generation.system": "Be brief."}, None, "system"),
        ({"generation.temperature": 0.5}, None, "sampling"),
        ({"generation.max_new_tokens.draft": 96}, None, "max_new_tokens"),
        ({}, lambda c: replace(c, examples=c.examples[1:]), "examples"),
        ({}, "remove", "assignment"),
    ],
)
def test_the_root_is_the_component_that_was_changed(
    world: World, overrides: dict[str, Any], change: Any, component: str
) -> None:
    inputs = world.read(**overrides)
    if change:
        inputs = replace(
            inputs,
            constitution=(without(most_used(world)) if change == "remove" else change)(
                inputs.constitution
            ),
        )
    before = world.ledger.query("SELECT max(created_at) AS t FROM completions")[0]["t"]
    world.run(inputs)
    row = newest(
        world,
        "SELECT completion_id AS id FROM completions WHERE created_at > ? ORDER BY created_at",
        after=before,
    )
    assert tell(world.ledger, row)["why"]["root"]["component"] == component


def newest_after(world: World, before: Any, step: str) -> str:
    return newest(
        world,
        "SELECT completion_id AS id FROM completions WHERE created_at > ? AND step = ?"
        " ORDER BY created_at DESC, id LIMIT 1",
        after=before,
        step=step,
    )


def latest(world: World) -> Any:
    return world.ledger.query("SELECT max(created_at) AS t FROM completions")[0]["t"]


@pytest.mark.parametrize("step", ["draft", "revision"])
def test_where_there_was_no_system_message_it_is_no_first_time(world: World, step: str) -> None:
    before = latest(world)
    world.run(world.read(**{"generation.system": "Be brief."}))
    told = tell(world.ledger, newest_after(world, before, step))
    text = "\n".join(str(line) for line in story_lines(told))
    assert "because system changed ((none) -> Be brief.)" in text
    assert "for the first time" not in text


def test_a_cut_draft_and_its_longer_rerun_stay_apart(world: World) -> None:
    cut = "SELECT pair_id AS id FROM pairs JOIN completions c ON completion_id ="
    cut += " rejected_completion_id WHERE finish_reason = 'length' ORDER BY id LIMIT 1"
    pair, before = newest(world, cut), latest(world)
    world.run(world.read(**{"generation.max_new_tokens.draft": 96}))
    for step in ("critique", "revision"):
        why = tell(world.ledger, newest_after(world, before, step))["why"]
        assert (why["root"]["component"], why["root"]["was"]) == ("max_new_tokens", "48")
    old = tell(world.ledger, pair)
    assert old["links"][0]["text"] == old["row"]["rejected"]["text"]
    assert old["links"][0]["cut_at"] == 48


@pytest.mark.parametrize(
    ("field", "step"), [("comparison", "critique"), ("comparison", "revision"),
                        ("revision", "critique")]
)  # fmt: skip
def test_words_that_a_step_does_not_show_are_not_its_cause(
    world: World, field: str, step: str
) -> None:
    slug = most_used(world)
    inputs = world.read(**{"generation.system": "Be brief."})
    constitution = world.edit(reworded(slug, field)).constitution
    world.run(replace(inputs, constitution=constitution))
    why = tell(world.ledger, revision_of(world, slug, f"{step}_completion_id"))["why"]
    assert (why["component"], why["root"]["component"]) == ("upstream", "system")


def test_words_that_a_critique_does_not_show_are_not_its_maker(world: World) -> None:
    """A reworded revision request shares its critiques with the old one's, which stay the old's."""
    slug = most_used(world)
    snapshot = world.ledger.query("SELECT dataset_id FROM datasets WHERE kind = 'preferences'")[0]
    before = trace(world.ledger, snapshot["dataset_id"], "up")["counts"]
    edited = world.edit(reworded(slug, "revision"))
    made = world.run(edited)
    assert made["critiques0"] == 0 < made["revisions0"]
    assert trace(world.ledger, snapshot["dataset_id"], "up")["counts"] == before
    reached = trace(world.ledger, principle_id(edited.constitution.principle(slug)), "down")
    assert snapshot["dataset_id"] not in reached["nodes"]


def test_words_that_no_request_shows_make_no_row(world: World) -> None:
    """A principle whose comparison alone was edited becomes a maker of nothing that was there."""
    slug = most_used(world)
    snapshot = world.ledger.query("SELECT dataset_id FROM datasets WHERE kind = 'preferences'")[0]
    tables = ("revisions", "completions", "pairs", "datasets")
    counts = {t: world.ledger.query(f"SELECT count(*) AS n FROM {t}") for t in tables}
    before = trace(world.ledger, snapshot["dataset_id"], "up")["counts"]
    edited = world.edit(reworded(slug, "comparison"))
    assert world.plan(edited).is_empty
    assert sum(world.run(edited).values()) == 0
    assert {t: world.ledger.query(f"SELECT count(*) AS n FROM {t}") for t in tables} == counts
    assert trace(world.ledger, snapshot["dataset_id"], "up")["counts"] == before
    new = principle_id(edited.constitution.principle(slug))
    assert trace(world.ledger, new, "down")["counts"] == {}
    assert trace(world.ledger, slug, "down")["counts"]["pair"] > 0


def test_a_pair_tells_of_the_revision_it_was_first_made_of(world: World) -> None:
    """A reworded principle may lead to the same text, and so to the same pair."""
    slug = most_used(world)
    sql = "SELECT {} AS id FROM revisions JOIN principles USING (principle_id) WHERE slug = ?"
    sql += " AND prompt_id = ? AND round = 1 ORDER BY revisions.created_at DESC LIMIT 1"
    prompt = newest(
        world,
        "SELECT prompt_id AS id FROM revisions JOIN principles USING (principle_id)"
        " WHERE slug = ? AND round = 1 AND pair_id IS NOT NULL ORDER BY id LIMIT 1",
        slug=slug,
    )
    pair = newest(world, sql.format("pair_id"), slug=slug, prompt=prompt)
    first = tell(world.ledger, pair)
    world.run(world.edit(reworded(slug, "critique")))
    later = newest(world, sql.format("revision_id"), slug=slug, prompt=prompt)
    with world.ledger.transaction() as con:
        con.execute("UPDATE revisions SET pair_id = ? WHERE revision_id = ?", [pair, later])
    told = tell(world.ledger, pair)
    assert told["row"] == first["row"]
    assert told["links"] == first["links"]


def test_no_control_character_reaches_the_terminal(world: World) -> None:
    pair = newest(world, "SELECT pair_id AS id FROM pairs ORDER BY id LIMIT 1")
    bad = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eback \x00"
    with world.ledger.transaction() as con:
        con.execute("UPDATE completions SET text = ?", [bad])
        con.execute("UPDATE pairs SET chosen = ?, rejected = ?", [bad, bad])
        con.execute("UPDATE prompts SET category = ?, source = ?", [bad, bad])
        con.execute("UPDATE models SET reference = ?", [bad])
    shown = "\n".join(str(line) for line in story_lines(tell(world.ledger, pair)))
    assert "red" in shown
    assert not {c for c in shown if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)}
    assert "\u202e" not in shown


def test_a_row_without_its_past_is_told_as_far_as_it_is_known(world: World) -> None:
    slug = most_used(world)
    critique = revision_of(world, slug, "critique_completion_id")
    with world.ledger.transaction() as con:
        con.execute("DELETE FROM revisions")
        assert story(con, "ckp_0") is None
        assert story(con, "cmp_0") is None
    assert places(tell(world.ledger, critique)) == CHAIN[1:2]
