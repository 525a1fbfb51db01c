"""The memo loop on a real ledger: what is looked up, generated, committed, and lost by a kill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.ids import content_id
from storage.ledger import Ledger
from tasks.engines.engine import Batch, Completion, Request
from tasks.engines.scripted import ScriptedEngine
from tasks.generation import memo
from tasks.generation.calls import Call, CallForm, Sampling
from tasks.generation.memo import complete, look_up

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=30, max_prompt_tokens=100)


def call(
    text: str,
    sampling: Sampling = SAMPLING,
    model_id: str = "mdl_1",
    prompt_id: str = "prm_1",
    examples: Sequence[dict[str, str]] = (),
    **place: Any,
) -> Call:
    form = CallForm("draft", model_id, sampling, examples)
    return form.call(prompt_id, ({"role": "user", "content": text},), **place)


CALLS = [call(f"question {n}") for n in range(40)]


class Counting(ScriptedEngine):
    """The scripted engine, keeping count; `fail_after` batches it dies."""

    def __init__(self, fail_after: int | None = None, batch_rows: int = 8) -> None:
        super().__init__(batch_rows=batch_rows)
        self.asked, self.fail_after = 0, fail_after

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.asked += len(requests)
        for number, batch in enumerate(super().generate(requests)):
            if number == self.fail_after:
                raise RuntimeError("the engine died")
            yield batch


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


def test_what_was_generated_is_found_again_word_for_word(ledger: Ledger) -> None:
    assert look_up(ledger, CALLS) == {}
    made = complete(ledger, ScriptedEngine(), "run_1", CALLS)
    assert look_up(ledger, CALLS) == made
    assert len(made) == len(CALLS)


def test_equal_calls_are_made_once(ledger: Ledger) -> None:
    engine = Counting()
    complete(ledger, engine, "run_1", [CALLS[0], CALLS[0], CALLS[1]])
    assert engine.asked == 2


def test_an_engine_that_dies_loses_nothing_that_came_before(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="died"):
        complete(ledger, Counting(fail_after=3), "run_1", CALLS)
    assert len(look_up(ledger, CALLS)) == 24


def test_a_slow_engine_commits_every_batch(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "COMMIT_EVERY_S", 0.0)
    seen = []
    complete(
        ledger, Counting(), "run_1", CALLS, lambda done, _: seen.append(len(look_up(ledger, CALLS)))
    )
    assert seen == [8, 16, 24, 32, 40]


def with_limit(calls: Sequence[Call], **limits: int) -> list[Call]:
    sampling = replace(SAMPLING, **limits)  # type: ignore[arg-type]
    return [call(c.messages[0]["content"], sampling) for c in calls]


def test_a_higher_limit_regenerates_only_what_was_cut(ledger: Ledger) -> None:
    made = complete(ledger, ScriptedEngine(), "run_1", CALLS)
    cut = {a.completion_id for a in made.values() if a.finish_reason == "length"}
    assert 0 < len(cut) < len(CALLS)
    longer = with_limit(CALLS, max_new_tokens=60)
    assert {c.completion_id for c in longer} - set(look_up(ledger, longer)) == cut


def test_a_lower_limit_keeps_what_fits_and_going_back_costs_nothing(ledger: Ledger) -> None:
    made = complete(ledger, ScriptedEngine(), "run_1", CALLS)
    shorter = with_limit(CALLS, max_new_tokens=10)
    found = look_up(ledger, shorter)
    assert set(found) == {a.completion_id for a in made.values() if a.completion_tokens <= 10}
    complete(
        ledger, ScriptedEngine(), "run_2", [c for c in shorter if c.completion_id not in found]
    )
    assert look_up(ledger, CALLS) == made


def test_a_prompt_that_is_too_long_is_not_tried_again_until_the_limit_is_raised(
    ledger: Ledger,
) -> None:
    long = [call("word " * 50)]
    narrow = with_limit(long, max_prompt_tokens=20)
    made = complete(ledger, ScriptedEngine(), "run_1", narrow)
    assert [a.finish_reason for a in made.values()] == ["too_long"]
    assert look_up(ledger, narrow) == made
    assert look_up(ledger, long) == {}
    complete(ledger, ScriptedEngine(), "run_2", long)
    assert [a.finish_reason for a in look_up(ledger, long).values()] != ["too_long"]


def test_a_prompt_over_a_lower_limit_is_left_out_though_its_answer_is_there(
    ledger: Ledger,
) -> None:
    """So the rows of a recipe do not depend on what ran before it."""
    both = [call("word " * 50), call("short")]
    narrow = with_limit(both, max_prompt_tokens=20)
    made = complete(ledger, ScriptedEngine(), "run_1", both)
    found = look_up(ledger, narrow)
    afresh = Ledger(ledger.path.with_name("afresh.duckdb"))
    assert found == complete(afresh, ScriptedEngine(), "run_1", narrow)
    assert sorted(a.finish_reason for a in found.values()) == ["stop", "too_long"]
    assert look_up(ledger, both) == made


@pytest.mark.parametrize(
    "changes",
    [
        {"model_id": "mdl_2"},
        {"sampling": replace(SAMPLING, temperature=0.5)},
        {"sampling": replace(SAMPLING, top_p=0.9)},
        {"sampling": replace(SAMPLING, stop=("x",))},
        {"examples": [{"role": "user", "content": "other"}]},
    ],
)
def test_what_makes_another_completion(changes: dict[str, Any]) -> None:
    assert call("question").completion_id != call("question", **changes).completion_id


@pytest.mark.parametrize(
    "changes",
    [
        {"principle_id": "prn_2"},
        {"prompt_id": "prm_2"},
        {"round": 3},
        {"sampling": replace(SAMPLING, max_new_tokens=5)},
        {"sampling": replace(SAMPLING, max_prompt_tokens=5)},
    ],
)
def test_what_does_not(changes: dict[str, Any]) -> None:
    assert call("question").completion_id == call("question", **changes).completion_id


def test_the_id_is_the_content_id_of_the_whole_request() -> None:
    """The shared examples are hashed once; the id does not show it."""
    examples = [{"role": "user", "content": "é\n"}, {"role": "assistant", "content": '"'}]
    found = call("question ü", replace(SAMPLING, stop=("\n",)), examples=examples)
    whole = {
        "messages": [*examples, {"role": "user", "content": "question ü"}],
        "model": "mdl_1",
        "sample_index": 0,
        "stop": ["\n"],
        "temperature": 1.0,
        "top_p": 1.0,
    }
    assert found.completion_id == content_id("completion", whole)
    plain = call("question ü")
    whole |= {"messages": whole["messages"][2:], "stop": []}  # type: ignore[index]
    assert plain.completion_id == content_id("completion", whole)


class Recording(ScriptedEngine):
    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.requests = list(requests)
        yield Batch([Completion(n, "x", "stop", 1, 1) for n in range(len(requests))], 0.1)


def test_the_seed_comes_from_the_id(ledger: Ledger) -> None:
    engine = Recording()
    complete(ledger, engine, "run_1", CALLS[:2])
    assert [r.seed for r in engine.requests] == [int(c.completion_id[4:20], 16) for c in CALLS[:2]]


class Thinking(ScriptedEngine):
    """Thinks aloud before every answer; about odd questions without an end."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        texts = ["<think>\nhm\n</think>\n\nYes.", "<think>\nhm"]
        items = [
            Completion(index, texts[index % 2], "stop", 9, 5) for index, _ in enumerate(requests)
        ]
        yield Batch(items, 0.1)


def test_thoughts_are_in_the_ledger_and_nowhere_else(ledger: Ledger) -> None:
    asked = CALLS[:2]
    made = complete(ledger, Thinking(), "run_1", asked)
    assert look_up(ledger, asked) == made
    answers = [made[call.completion_id] for call in asked]
    assert [(a.text, a.finish_reason, a.cut_at) for a in answers] == [
        ("Yes.", "stop", 0),
        ("", "length", 0),  # a thought without an end is no answer
    ]
    kept = ledger.query("SELECT text FROM completions ORDER BY text DESC")
    assert [row["text"] for row in kept] == ["<think>\nhm\n</think>\n\nYes.", "<think>\nhm"]


def test_other_tags_are_a_setting_and_no_part_of_the_id(ledger: Ledger) -> None:
    other = replace(SAMPLING, thinking=replace(SAMPLING.thinking, tags=("[T]", "[/T]")))
    asked = call("question 0", other)
    assert asked.completion_id == CALLS[0].completion_id
    found = complete(ledger, Thinking(), "run_1", [asked])[asked.completion_id]
    assert found.text.startswith("<think>")
