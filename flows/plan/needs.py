"""What a run needs of each stage and of the evaluation, and what that is called.

Said once: a plan looks whether it is there, a run makes it. Every id is known before anything is
trained, as a checkpoint's name is that of what it is made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flows.plan.inputs import Inputs
from flows.plan.steps import STAGES, Step, at_most
from tasks.generation.snapshots import Rows, Snapshot
from tasks.training.keys import checkpoint_id


@dataclass(frozen=True)
class Need:
    """A checkpoint, or an evaluation. `parents`: the checkpoints it reads, by role; `parts`: those
    of its key.
    """

    step: Step
    snapshot: Snapshot
    parents: Mapping[str, str]
    parts: dict[str, Any]

    @cached_property
    def id(self) -> str:
        return checkpoint_id(self.parts)


Needs = dict[Step, Need]


def stage_needs(inputs: Inputs, rows: Rows, until: Step | None = None) -> Needs:
    """The checkpoints of a run in the order they are made: SFT and reward model; then DPO from
    SFT, and PPO from SFT under the reward model.
    """
    needs: Needs = {}
    for stage in STAGES:
        if at_most(stage, until):
            roles = _roles(inputs, stage)
            parents: dict[str, str] = {role: needs[role].id for role in roles}
            needs[stage] = _need(inputs, stage, _snapshot(inputs, stage, rows), parents)
    return needs


def evaluation_need(inputs: Inputs, checkpoints: Mapping[str, str]) -> Need:
    """The evaluation of these checkpoints (by stage) on the held-out prompts."""
    snapshot = Snapshot("prompts", (), tuple(p.prompt_id for p in inputs.evaluation_prompts))
    return _need(inputs, "evaluate", snapshot, checkpoints)


def ids(needs: Needs) -> dict[str, str]:
    """The checkpoints' ids by stage."""
    return {stage: need.id for stage, need in needs.items()}


def _need(inputs: Inputs, step: Step, snapshot: Snapshot, parents: Mapping[str, str]) -> Need:
    parts = inputs.components(step, snapshot.dataset_id, dict(parents))
    return Need(step, snapshot, parents, parts)


def _roles(inputs: Inputs, stage: Step) -> tuple[Step, ...]:
    """The stages whose checkpoints a stage reads."""
    roles: dict[Step, tuple[Step, ...]] = {
        "sft": (),
        "reward": ("sft",) if inputs.recipe.reward["start"] == "sft" else (),
        "dpo": ("sft",),
        "ppo": ("sft", "reward"),
    }
    return roles[stage]


def _snapshot(inputs: Inputs, stage: Step, rows: Rows) -> Snapshot:
    """The snapshot a stage learns from."""
    snapshots = {"sft": rows.sft, "ppo": inputs.prompt_snapshot}
    return snapshots.get(stage, rows.preferences)
