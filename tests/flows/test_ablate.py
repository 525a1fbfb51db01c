"""Ablation: which rows a principle had a hand in, and how two evaluations are set side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.explain.ablation import compared, left_out, markdown
from tasks.evaluation.rows import HELD_OUT
from tasks.generation.calls import Answer
from tasks.generation.memo import look_up
from tasks.generation.snapshots import Rows
from tasks.generation.walk import Level, walk

from .world import World, most_used


def rows_of(world: World, without: str | None = None) -> Rows:
    def answer(level: Level) -> dict[str, Answer]:
        return look_up(world.ledger, level.calls)

    assembler = world.inputs.assembler(without)
    assembler.add(walk(world.inputs.method, world.inputs.prompts, answer))
    return assembler.rows()


@pytest.mark.parametrize("rounds", [1, 3])
def test_rows_the_principle_had_a_hand_in_are_left_out(tmp_path: Path, rounds: int) -> None:
    world = World(tmp_path / "home", **{"generation.rounds": rounds})
    world.run(world.inputs)
    slug, method = most_used(world), world.inputs.method
    rows, without = rows_of(world), rows_of(world, slug)
    assert set(without.preferences.training) < set(rows.preferences.training)
    counts = left_out(rows, without)
    met = [p for p in world.inputs.prompts if slug in {q.slug for q in method.principles(p)}]
    assert 0 < counts["pairs"] <= len(met)
    unmet = {p.prompt_id for p in world.inputs.prompts} - {p.prompt_id for p in met}
    kept = world.ledger.query(
        "SELECT DISTINCT prompt_id FROM pairs SEMI JOIN wanted ON pair_id = wanted.id",
        wanted={"id": [*without.preferences.training, *without.preferences.held_out]},
    )
    assert {row["prompt_id"] for row in kept} <= unmet
    reasons = {reason for step, reason in without.left_out if step == "pairs"}
    assert "ablated" in reasons


def test_a_principle_nobody_met_leaves_everything(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    world.run(world.inputs)
    assert rows_of(world, "be-nice").preferences == rows_of(world).preferences


def answer(policy: str, prompt: str, reward: float, text: str = "one two") -> dict[str, Any]:
    return {
        "policy": policy,
        "probe": HELD_OUT,
        "sample": 0,
        "question_id": prompt,
        "prompt_id": prompt,
        "prompt": "Why?",
        "text": text,
        "finish_reason": "stop",
        "reward": reward,
        "kl": 0.0,
        "tokens": 2,
    }


def test_the_difference_is_paired_by_prompt(tmp_path: Path) -> None:
    constitution = World(tmp_path / "home").inputs.constitution
    first = constitution.principles[0]
    checked = replace(first, slug="calm", check=("no_character", "!"))
    constitution = replace(constitution, principles=(checked,))
    before = [answer("dpo", str(n), n + 1.0) for n in range(5)]
    after = [answer("dpo", str(n), float(n), "no!") for n in range(4)]
    found = {row["metric"]: row for row in compared(constitution, before, after)}
    reward = found["reward"]
    assert (reward["difference"], reward["low"], reward["high"], reward["n"]) == (1.0, 1.0, 1.0, 4)
    assert (found["rule:calm"]["with"], found["rule:calm"]["without"]) == (1.0, 0.0)
    result = {
        "slug": "<b>",
        "left_out": {"pairs": 1, "sft": 2},
        "evaluations": {"with": "evl_a", "without": "evl_b"},
        "metrics": list(found.values()),
    }
    text = markdown(result)
    assert text.startswith("# What \\<b> bought")
    assert "| dpo | reward | 2.50 | 1.50 | +1.00 (1.00 to 1.00) | 4 |" in text
