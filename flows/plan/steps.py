"""The steps of a run, in order, and the stages of training among them."""

from __future__ import annotations

from typing import Literal, get_args

Stage = Literal["sft", "reward", "dpo", "ppo"]
DataStep = Literal["drafts", "critiques", "revisions", "samples", "comparisons", "pairs"]
Step = Literal[DataStep, Stage, "evaluate"]
STAGES: tuple[Stage, ...] = get_args(Stage)
STEPS: tuple[Step, ...] = get_args(Step)


def at_most(step: Step, until: Step | None) -> bool:
    """Whether a run that ends after `until` takes `step`."""
    return until is None or STEPS.index(step) <= STEPS.index(until)
