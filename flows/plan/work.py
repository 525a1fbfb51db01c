"""How much a stage computes, by its settings and rows: optimizer steps, and tokens in passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORWARD = 1 / 3  # what a pass without its backward pass costs of one with it
SEQUENCES = {"sft": 1, "reward": 2, "dpo": 2}  # of a row


@dataclass(frozen=True)
class Work:
    """`steps`: optimizer steps, of PPO updates. `tokens`: those of every sequence, as often as a
    pass forward and back goes over them.
    """

    steps: int
    tokens: float


def work_of(
    stage: str, settings: Mapping[str, Any], rows: int, held_out: int, row_tokens: float
) -> Work:
    """What a stage does. row_tokens: of a row, both its answers; of PPO of a prompt."""
    if stage == "ppo":
        return _of_ppo(settings, row_tokens)
    steps = steps_of(settings, rows)
    passes = steps * settings["batch_size"] * settings["gradient_accumulation"]
    if settings["max_steps"] < 0:
        passes = settings["epochs"] * rows
    seen = evaluations(settings, steps) * held_out * FORWARD if steps else 0.0
    return Work(steps, (min(passes, steps * rows) + seen) * row_tokens)


def steps_of(settings: Mapping[str, Any], rows: int) -> int:
    """Optimizer steps of SFT, reward model or DPO: a last short batch is one too."""
    if rows == 0:
        return 0
    if settings["max_steps"] > 0:
        return int(settings["max_steps"])
    batches = math.ceil(rows / settings["batch_size"])
    return math.ceil(settings["epochs"] * math.ceil(batches / settings["gradient_accumulation"]))


def evaluations(settings: Mapping[str, Any], steps: int) -> int:
    """How often the held-out rows are read: before the first step, every eval_steps, at the end."""
    return 1 + math.ceil(steps / settings["eval_steps"])


def _of_ppo(settings: Mapping[str, Any], prompt_tokens: float) -> Work:
    """Episodes are written once and trained on in every epoch; others calibrate the rewards."""
    episode = prompt_tokens + settings["max_new_tokens"]
    drawn = settings["updates"] * settings["batch_size"]
    passes = drawn * (1 + settings["epochs"]) + settings["calibration_samples"]
    return Work(settings["updates"], passes * episode)
