"""Pairs of actions after a shared history make a Q-function: which way is right is planted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from flows.plan.subjects import Base, Subject
from flows.run.actions import Decision, QModel, q_values
from tasks.engines.engine import Batch, Score
from tasks.engines.load import AdaptedModel
from tasks.engines.score import Scorer

from .conftest import Stage

DOORS = ("left", "right")
WAYS = {room: DOORS[place % 2] for place, room in enumerate("ABCDEFGH")}
"""The door of each room that leads on. Only who takes both right ones finds the prize."""


def other(door: str) -> str:
    return DOORS[1 - DOORS.index(door)]


def steps(days: range, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Both decisions of a walk a day: the second's history has the first action in it, which may
    have been the wrong one, and the room that it led to.
    """
    for day in days:
        first, second = draw.sample(sorted(WAYS), 2)
        seen = [{"role": "user", "content": f"day {day}: room {first}"}]
        taken = draw.choice(DOORS)
        after = [
            *seen,
            {"role": "assistant", "content": taken},
            {"role": "user", "content": f"room {second}"},
        ]
        for messages, room in ((seen, first), (after, second)):
            right = WAYS[room]
            yield {"id": f"{day}-{room}", "messages": messages, "preference": 1.0} | {
                "chosen": right,
                "rejected": other(right),
            }


class Direct:
    """An engine in this process that only scores."""

    def __init__(self, model: AdaptedModel) -> None:
        self.scorer = Scorer(model)

    def score(self, continuations: Any) -> Iterator[Batch[Score]]:
        for items, seconds in self.scorer.score([vars(asked) for asked in continuations]):
            yield Batch([Score(**item) for item in items], seconds)


def test_the_right_door_comes_first(tiny: Path, tmp_path: Path) -> None:
    """In at least 95 of 100 walks that were not seen, first and second decisions alike; and the
    values are those of plain logits, up to the token that ends the action.
    """
    draw = random.Random(5)
    train, held_out = list(steps(range(100, 260), draw)), list(steps(range(300, 350), draw))
    stage = Stage(tmp_path, tiny, "dpo").data(train, held_out)
    stage.spec["model"]["compute"] = "float32"
    settings: dict[str, Any] = {
        "learning_rate": 1e-2,
        "epochs": 5,
        "batch_size": 16,
        "max_length": 128,
    }
    stage.run(**settings, eval_steps=1000, save_steps=1000)
    loaded = {"path": str(tiny), "quantization": "nf4", "dtype": "float32"}
    adapter = str(stage.out / "adapter")
    engine: Any = Direct(AdaptedModel({**loaded, "adapters": {"trained": adapter}}))
    base = Subject("base", Base(str(tiny)))
    model = QModel(Subject("dpo", base.base, "trained"), base, 0.1, False)
    decisions = [Decision(row["messages"], (row["rejected"], row["chosen"])) for row in held_out]
    found = q_values(engine, model, decisions)
    right = [chosen.q > rejected.q for rejected, chosen in found]
    assert sum(right[0::2]) >= 0.95 * len(right[0::2])
    assert sum(right[1::2]) >= 0.95 * len(right[1::2])
    for (_, chosen), row in zip(found[:4], held_out, strict=False):
        with_, without = (plain_logprob(engine, name, row) for name in ("trained", None))
        assert chosen.q == pytest.approx(0.1 * (with_ - without), abs=1e-4)
    untrained = QModel(base, base, 0.1, False)
    assert {one.q for values in q_values(engine, untrained, decisions[:2]) for one in values} == {0}


def plain_logprob(engine: Direct, adapter: str | None, row: dict[str, Any]) -> float:
    """log p of the chosen action and the end of its turn, by a pass without any of our layout."""
    tokenizer: Any = engine.scorer.tokenizer
    before = tokenizer.apply_chat_template(
        row["messages"], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    after = tokenizer(row["chosen"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
    with engine.scorer.model.use(adapter) as model, torch.no_grad():
        logits = model(torch.tensor([before + after])).logits[0, len(before) - 1 : -1]
    chosen = logits.log_softmax(-1).gather(-1, torch.tensor(after)[:, None])
    return float(chosen.sum())
