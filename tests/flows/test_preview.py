"""Preview on a real ledger: the edited principle's rows only, before beside after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from constitution.schema import Constitution
from flows.explain.preview import choose, compare, left_out, up_to
from flows.explain.show import preview_table
from flows.plan.inputs import Inputs
from storage.errors import InputError
from tasks.engines.scripted import ScriptedEngine
from tasks.generation.memo import complete, look_up
from tasks.generation.record import record_constitution
from tasks.generation.walk import Answer, Level, walk

from .world import World, most_used, prompts_of, reworded


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    world.run(world.inputs)
    return world


def generate(world: World, inputs: Inputs, slug: str, count: int) -> int:
    """What the flow does; how many calls were made."""
    made = 0

    def answer(level: Level) -> dict[str, Answer]:
        nonlocal made
        found = look_up(world.ledger, level.calls)
        missing = [call for call in level.calls if call.completion_id not in found]
        made += len(missing)
        return found | complete(world.ledger, ScriptedEngine(), "run_preview", missing)

    record_constitution(world.ledger, inputs.constitution, "test")
    for round, prompts in choose(inputs, slug, count).items():
        walk(up_to(inputs.method, round), prompts, answer)
    return made


def test_two_calls_a_prompt_and_the_run_makes_the_rest(world: World) -> None:
    slug = most_used(world)
    edited = world.edit(reworded(slug, "critique"))
    whole = world.plan(edited).cost["calls"][0]
    assert generate(world, edited, slug, 2) == 4
    assert world.plan(edited).cost["calls"] == [whole - 4, whole - 4]
    assert generate(world, edited, slug, 2) == 0


def test_before_is_what_the_old_words_gave(world: World) -> None:
    slug = most_used(world)
    old, _ = compare(world.inputs, world.ledger, choose(world.inputs, slug, 3), slug)
    assert [row.before for row in old] == [None] * 3
    edited = world.edit(reworded(slug, "revision"))
    generate(world, edited, slug, 3)
    rows, _ = compare(edited, world.ledger, choose(edited, slug, 3), slug)
    assert [row.before for row in rows] == [row.after for row in old]
    assert all(row.after.revision != row.before.revision for row in rows if row.before)
    assert all(row.after.critique == row.before.critique for row in rows if row.before)


def test_a_new_principle_is_compared_with_what_it_displaces(world: World) -> None:
    def add(constitution: Constitution) -> Constitution:
        first = constitution.principles[0]
        said, asked = "Say what is new here.", "Write it anew."
        new = replace(first, slug="quite-new", weight=1e3, critique=said, revision=asked)
        return replace(constitution, principles=(*constitution.principles, new))

    edited = world.edit(add)
    generate(world, edited, "quite-new", 2)
    rows, _ = compare(edited, world.ledger, choose(edited, "quite-new", 2), "quite-new")
    assert len(rows) == 2
    slugs = {p.slug for p in world.inputs.constitution.principles}
    assert all(row.before and row.before.principle in slugs for row in rows)


def test_a_principle_that_nobody_meets(world: World) -> None:
    def off(constitution: Constitution) -> Constitution:
        first, *others = constitution.principles
        return replace(constitution, principles=(replace(first, enabled=False), *others))

    inputs = world.edit(off)
    with pytest.raises(InputError, match="no prompt of this recipe meets"):
        choose(inputs, inputs.constitution.principles[0].slug, 2)
    with pytest.raises(InputError, match="has this slug"):
        choose(world.inputs, "be-nice", 2)


def test_text_of_models_cannot_steer_the_terminal() -> None:
    said = {"principle": "x", "critique": "\x1b[2J[bold]", "revision": "\u202eab"}
    row = {"prompt": "\x1b]0;t\x07", "response": "\x1b", "before": None, "after": said}
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))
    console.print(preview_table(row))
    shown = console.export_text(styles=False)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]" in shown


def test_before_are_a_critique_and_a_revision_that_stood_together(world: World) -> None:
    slug = most_used(world)
    second = world.edit(reworded(slug, "critique"))
    generate(world, second, slug, 3)
    middle, _ = compare(second, world.ledger, choose(second, slug, 3), slug)
    world.inputs = second
    third = world.edit(reworded(slug, "revision"))
    generate(world, third, slug, 3)
    rows, is_whole = compare(third, world.ledger, choose(third, slug, 3), slug)
    assert is_whole
    assert [row.before for row in rows] == [row.after for row in middle]


def test_later_rounds_fill_up_what_the_first_lacks(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"generation.rounds": 3})
    slug = most_used(world)
    in_first = prompts_of(world, slug)
    chosen = choose(world.inputs, slug, in_first + 1)
    assert [len(prompts) for prompts in chosen.values()] == [in_first, 1]
    ids = [p.prompt_id for prompts in chosen.values() for p in prompts]
    assert len(set(ids)) == len(ids)


def test_a_text_that_is_cut_is_said_to_be_left_out(world: World) -> None:
    said, cut = (SimpleNamespace(finish_reason=reason) for reason in ("stop", "length"))
    step: Any = SimpleNamespace(turn=SimpleNamespace(answer=said), revision=cut)
    whole = world.read(**{"pairs.whole": True})
    assert left_out(whole, step) == "the revision is cut at the limit"
    assert left_out(world.inputs, step) == ""  # whose recipe takes such rows
    after = {"principle": "x", "critique": "c", "revision": "r"}
    row = {"prompt": "p", "response": "d", "before": None, "after": after}
    shown = str(preview_table(row | {"left_out": left_out(whole, step)}).caption)
    assert shown == "a run leaves this row out: the revision is cut at the limit"
