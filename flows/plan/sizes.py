"""How much a stage trains: by what there is, within what the recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.training.settings import require

LEAST_ROWS = 4
"""Rows, of PPO prompts, below which a stage is not said to be trained."""


@dataclass(frozen=True)
class PpoSizes:
    """What a recipe says of PPO's length, and a plan turns into numbers (`sized`)."""

    updates: int | None = None
    """Rollout-and-update rounds at most; null: as many as `draws` allows. The learning rate is
    annealed over all of them."""
    draws: int = 4
    """How often each prompt is drawn, at most: fewer prompts make fewer and smaller updates."""

    def __post_init__(self) -> None:
        for name, value in (("updates", self.updates), ("draws", self.draws)):
            is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            is_free = name == "updates" and value is None
            fix = "change it in the recipe or with --set"
            require(is_count or is_free, f"{name}={value!r}", "must be at least 1", fix)


def sized(settings: Mapping[str, Any], prompts: int) -> dict[str, Any]:
    """PPO's settings for so many prompts to train on, none of which is drawn oftener than `draws`.

    What fits as the recipe has it stays as it is. Else a batch holds no prompt twice, and there are
    as many updates as `draws` allows; a warm-up leaves the last of them.
    """
    given = {name: value for name, value in settings.items() if name != "draws"}
    most = settings["draws"] * max(prompts, 1)
    updates, batch, parts = given["updates"], given["batch_size"], given["num_mini_batches"]
    if updates is None or updates * batch > most:
        batch = max(min(batch, prompts), 1)
        parts = min(parts, batch)
        batch -= batch % parts
        updates = min(updates or most, most // batch)
    warmups = {name: min(given[name], updates - 1) for name in ("critic_warmup", "warmup_updates")}
    return given | {
        "updates": updates,
        "batch_size": batch,
        "num_mini_batches": parts,
        "calibration_samples": min(given["calibration_samples"], most),
        **warmups,
    }


def too_few(rows: int) -> str:
    """What is said of a stage with so few rows to train on; empty where they are enough."""
    if rows >= LEAST_ROWS:
        return ""
    return f"{rows} rows are too few to learn from ({LEAST_ROWS} are the least)"
