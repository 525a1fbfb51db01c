"""The steps of a run, in order, and the stages of training among them."""

from __future__ import annotations

from typing import Literal

Step = Literal[
    "drafts", "critiques", "revisions", "pairs", "sft", "reward", "dpo", "ppo", "evaluate"
]
Stage = Literal["sft", "reward", "dpo", "ppo"]
STEPS: tuple[Step, ...] = (
    *("drafts", "critiques", "revisions", "pairs"),
    *("sft", "reward", "dpo", "ppo", "evaluate"),
)
STAGES: tuple[Step, ...] = ("sft", "reward", "dpo", "ppo")


def at_most(step: Step, until: Step | None) -> bool:
    """Whether a run that ends after `until` takes `step`."""
    return until is None or STEPS.index(step) <= STEPS.index(until)
