"""More prompts like a recipe's: what a model is shown, what is kept of its answers, and where."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.ledger import Ledger
from storage.lineage import trace
from tasks.engines.engine import Batch, Completion, Request
from tasks.engines.scripted import ScriptedEngine
from tasks.generation.calls import Answer, CallForm, Sampling
from tasks.generation.memo import complete, look_up
from tasks.generation.record import record_prompts
from tasks.generation.record_sets import record_made
from tasks.generation.self_instruct import (
    ASKED,
    SHOWN,
    Asked,
    Made,
    chosen,
    items,
    requests,
)
from tasks.prompts import Prompt, is_held_out
from tests.flows.world import World

FORM = CallForm("prompts", "mdl_x", Sampling(1.0, 1.0, 64, 512))
PERCENT = 20
THINGS = "bread rain owls maps tea ships moss clay wool salt frost kites bells ferns sand".split()


def prompts(category: str, count: int) -> list[Prompt]:
    texts = (f"Tell me of the {category} {THINGS[n]} in a few words" for n in range(count))
    return [
        Prompt(({"role": "user", "content": text},), category, "seeds", n)
        for n, text in enumerate(texts)
    ]


SEEDS = [*prompts("old", 12), *prompts("new", 12)]


def answered(asked: Sequence[Asked], text: str, reason: str = "stop") -> dict[str, Answer]:
    return {
        a.call.completion_id: Answer(
            a.call.completion_id, f"{text}".replace("N", str(n)), reason, 9
        )
        for n, a in enumerate(asked)
    }


def test_categories_take_turns_and_held_out_prompts_are_not_shown() -> None:
    asked = requests(FORM, SEEDS, PERCENT, 16)
    assert Counter(each.category for each in asked) == {"old": 4, "new": 4}
    assert len({each.call.completion_id for each in asked}) == len(asked)
    for each in asked:
        assert len(each.seeds) == SHOWN
        assert {seed.category for seed in each.seeds} == {each.category}
        assert not any(is_held_out(seed.prompt_id, PERCENT) for seed in each.seeds)
        text = each.call.messages[0]["content"]
        assert all(seed.messages[0]["content"] in text for seed in each.seeds)
        assert f"Write {ASKED} more" in text
    assert requests(FORM, SEEDS[::-1], PERCENT, 16) == asked or {
        each.call.completion_id for each in requests(FORM, SEEDS[::-1], PERCENT, 16)
    } == {each.call.completion_id for each in asked}
    long = [replace(s, messages=({"role": "user", "content": "x" * 700},)) for s in SEEDS]
    assert requests(FORM, long, PERCENT, 16) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1. Why is it so?\n2) How do I go\n there?\n", ["Why is it so?", "How do I go there?"]),
        ('Sure! Here:\n- "Why?"\n* How?', ["Why?", "How?"]),
        ("Why is it so?", []),
        ("In 2020. It was", []),
    ],
)
def test_items_are_numbered(text: str, found: list[str]) -> None:
    assert items(Answer("c", text, "stop", 1)) == found
    assert items(Answer("c", text, "length", 1)) == found[:-1]


def made_of(text: str, count: int = 40) -> tuple[list[Made], Counter[str]]:
    asked = requests(FORM, SEEDS, PERCENT, 40)
    return chosen(asked, answered(asked, text), SEEDS, PERCENT, count)


def test_what_is_alike_or_no_request_is_left_out() -> None:
    kept, left_out = made_of("1. Tell me of the old bread in a few words please\n2. Why\n")
    assert (kept, left_out["length"]) == ([], 20)
    assert left_out["alike"] + left_out["held_out"] == 20
    kept, left_out = made_of("1. How does a volcano N begin to grow on the sea floor\n")
    assert len(kept) == 1  # they differ in one word
    kept, _ = made_of("1. How does volcanoN start\n2. Who was queenN afterwards\n")
    assert len(kept) > 20
    assert not any(is_held_out(found.prompt.prompt_id, PERCENT) for found in kept)


def test_categories_are_filled_evenly() -> None:
    text = "1. How does volcanoN start\n2. Who was queenN afterwards\n"
    kept, left_out = made_of(text, 12)
    assert Counter(found.prompt.category for found in kept) == {"old": 6, "new": 6}
    every, _ = made_of(text, 1000)
    assert left_out["over"] == len(every) - 12


class Writer(ScriptedEngine):
    """Writes one prompt, another for every request."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        for index, request in enumerate(requests):
            text = f"1. How does volcano{request.seed} start\n"
            yield Batch([Completion(index, text, "stop", 9, 9)], 0.0)


def test_a_prompt_names_its_call_and_the_seeds_and_is_made_once(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    ledger, seeds = world.ledger, world.inputs.prompts
    asked = requests(FORM, seeds, PERCENT, 4)
    record_prompts(ledger, [seed for each in asked for seed in each.seeds])
    calls = [each.call for each in asked]
    answers = complete(ledger, Writer(), "run_test", calls)
    assert look_up(ledger, calls) == answers
    kept, _ = chosen(asked, answers, seeds, PERCENT, 4)
    record_prompts(ledger, [found.prompt for found in kept])
    record_made(ledger, kept)
    record_made(ledger, kept)
    one = kept[0]
    told = trace(ledger, one.prompt.prompt_id, "up")
    by_role: dict[str, set[str]] = {}
    for edge in told["edges"]:
        by_role.setdefault(edge["role"], set()).add(edge["parent"])
    assert by_role["written"] == {one.asked.call.completion_id}
    assert by_role["seed"] == {seed.prompt_id for seed in one.asked.seeds}
    assert one.prompt.prompt_id in trace(ledger, one.asked.seeds[0].prompt_id, "down")["nodes"]


def test_a_recipe_takes_more_prompts(tmp_path: Path) -> None:
    path = tmp_path / "more.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "What is moss?", "category": "old", "seeds": ["prm_1"]}
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 2), encoding="utf-8")
    world = World(tmp_path / "home")
    more = world.read(**{"prompts.more": str(path)})
    assert more.prompts[:-1] == world.inputs.prompts
    assert (more.prompts[-1].category, more.prompts[-1].source) == ("old", str(path))
    assert [row.reason for row in more.exclusions] == ["duplicate"]


def test_the_flow_asks_once_and_says_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Prefect's server: its task is called as a function, and no device is waited for."""
    from flows import more_prompts
    from flows.run import ask, progress
    from flows.run.workers import Workers
    from tests.flows.evaluated import Silent

    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ask, "complete_chunk", ask.complete_chunk.fn)
    monkeypatch.setattr(progress, "_current", Silent())
    monkeypatch.setattr(Workers, "hold_device", lambda self: False)
    monkeypatch.setattr(Workers, "generator", lambda self, model_id: Writer())
    given = {"generation.engine": "scripted"}
    first, again = (more_prompts.more_prompts.fn("smoke", 4, given) for _ in range(2))
    assert first["prompts"] == again["prompts"]
    assert 0 < len(first["prompts"]) <= 4
    assert set(first["prompts"][0]) == {"prompt", "category", "completion", "seeds"}
    ledger = Ledger(tmp_path / "home" / "ledger.duckdb")
    runs = ledger.query("SELECT DISTINCT run_id FROM completions WHERE step = 'prompts'")
    assert [row["run_id"] for row in runs] == [first["run_id"]]
