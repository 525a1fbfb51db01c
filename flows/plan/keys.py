"""The keys of a recipe's stages: which snapshot and which checkpoints each one reads."""

from __future__ import annotations

from typing import Any

from flows.plan.inputs import Inputs
from flows.plan.steps import Step
from tasks.generation.snapshots import Rows, Snapshot


def stage_components(
    inputs: Inputs, stage: Step, rows: Rows, checkpoints: dict[str, str]
) -> dict[str, Any]:
    """The key's parts of a stage, given the rows and the checkpoints before it (by stage)."""
    found = stage_snapshot(inputs, stage, rows).dataset_id
    return inputs.components(stage, found, parents_of(inputs, stage, checkpoints))


def stage_snapshot(inputs: Inputs, stage: Step, rows: Rows) -> Snapshot:
    """The snapshot a stage learns from."""
    snapshots = {
        "sft": rows.sft,
        "reward": rows.preferences,
        "dpo": rows.preferences,
        "ppo": inputs.prompt_snapshot,
    }
    return snapshots[stage]


def parents_of(inputs: Inputs, stage: Step, checkpoints: dict[str, str]) -> dict[str, str]:
    """The checkpoints a stage reads, by role."""
    roles = {
        "sft": (),
        "reward": ("sft",) if inputs.recipe.reward["start"] == "sft" else (),
        "dpo": ("sft",),
        "ppo": ("sft", "reward"),
    }
    return {role: checkpoints[role] for role in roles[stage]}


def evaluation_components(inputs: Inputs, checkpoints: dict[str, str]) -> dict[str, Any]:
    return inputs.components("evaluate", evaluation_snapshot(inputs).dataset_id, checkpoints)


def evaluation_snapshot(inputs: Inputs) -> Snapshot:
    """The held-out prompts that every policy answers."""
    return Snapshot("prompts", (), tuple(p.prompt_id for p in inputs.evaluation_prompts))
