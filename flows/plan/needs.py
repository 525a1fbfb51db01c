"""What a run needs of each stage and of the evaluation, and what that is called.

Said once: a plan looks whether it is there, a run makes it. A checkpoint's name is that of what it
is made from, so it is known as soon as the rows are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flows.plan.answers import with_champion
from flows.plan.duels import judge_parts
from flows.plan.inputs import Inputs
from flows.plan.questions import asked_parts
from flows.plan.sizes import sized
from flows.plan.steps import Stage, Step, at_most
from storage.ids import canonical_json
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.evaluation.rows import CHAMPION
from tasks.generation.snapshots import Rows, Snapshot
from tasks.training.keys import checkpoint_id, components

# The rows of a snapshot by its kind, each with id, messages and is_held_out.
MEMBERS = {
    "sft": """
        SELECT e.example_id AS id, p.messages, e.response, r.is_held_out
        FROM dataset_rows r
        JOIN examples e ON e.example_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ?""",
    "preferences": """
        SELECT x.pair_id AS id, p.messages, x.chosen, x.rejected, x.preference, r.is_held_out
        FROM dataset_rows r
        JOIN pairs x ON x.pair_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ?""",
    "prompts": """
        SELECT p.prompt_id AS id, p.messages, r.is_held_out
        FROM dataset_rows r
        JOIN prompts p ON p.prompt_id = r.row_id WHERE r.dataset_id = ?""",
}


EVALUATIONS_OF = """
    SELECT checkpoint_id, parent_roles, parent_ids FROM checkpoints
    WHERE stage = 'evaluate' AND list_has_all(parent_ids, ?) ORDER BY created_at DESC"""


@dataclass(frozen=True)
class Need:
    """A checkpoint, or an evaluation. `parents`: the checkpoints it reads, by role; `settings`: all
    of them; `parts`: those of its key, which has the settings that decide what comes out.
    """

    step: Step
    snapshot: Snapshot
    parents: Mapping[str, str]
    settings: Mapping[str, Any]
    parts: dict[str, Any]

    @cached_property
    def id(self) -> str:
        return checkpoint_id(self.parts)


Needs = dict[Step, Need]


def stage_needs(inputs: Inputs, rows: Rows, until: Step | None = None) -> Needs:
    """The checkpoints of a run in the order they are made: SFT and reward model; then DPO from
    SFT, and PPO from SFT under the reward model. SFT alone where its answers are candidates that
    are not there yet: what else is needed is not known then.
    """
    start: tuple[Stage, ...] = ("sft",) if inputs.recipe.reward["start"] == "sft" else ()
    reads: dict[Stage, tuple[Snapshot, tuple[Stage, ...]]] = {
        "sft": (rows.sft, ()),
        "reward": (rows.preferences, start),
        "dpo": (rows.preferences, ("sft",)),
        "ppo": (inputs.prompt_snapshot, ("sft", "reward")),
    }
    needs: Needs = {}
    for stage, (snapshot, roles) in reads.items():
        if at_most(stage, until) and (stage == "sft" or not rows.later):
            parents: dict[str, str] = {role: needs[role].id for role in roles}
            needs[stage] = _need(inputs, stage, snapshot, parents)
    return needs


def sft_need(inputs: Inputs, rows: Rows) -> Need:
    return _need(inputs, "sft", rows.sft, {})


def evaluation_need(inputs: Inputs, checkpoints: Mapping[str, str]) -> Need:
    """The evaluation of these checkpoints, by stage, the champion among them if it is to be."""
    snapshot = Snapshot("prompts", (), tuple(p.prompt_id for p in inputs.evaluation_prompts))
    return _need(inputs, "evaluate", snapshot, checkpoints)


def evaluation_now(
    inputs: Inputs, workspace: Workspace, ledger: Ledger, checkpoints: Mapping[str, str]
) -> Need:
    """The evaluation of these checkpoints (by stage) beside the champion of now. Where one of them
    has become it, the one in which it did: what was measured beside the champion before it stands.
    """
    found = with_champion(inputs, workspace, ledger, checkpoints)
    if found and CHAMPION not in found:
        for row in ledger.query(EVALUATIONS_OF, [list(found.values())]):
            roles = dict(zip(row["parent_roles"], row["parent_ids"], strict=True))
            before = evaluation_need(inputs, found | roles)
            if before.id == row["checkpoint_id"]:
                return before
    return evaluation_need(inputs, found)


def ids(needs: Needs) -> dict[str, str]:
    return {stage: need.id for stage, need in needs.items()}


def _need(inputs: Inputs, step: Step, snapshot: Snapshot, parents: Mapping[str, str]) -> Need:
    recipe = inputs.recipe
    number_type = "" if recipe.compute == "auto" else f", {recipe.compute}"  # only if asked for
    settings = _settings(inputs, step, snapshot)
    parts = components(
        step,
        settings,
        dataset_id=snapshot.dataset_id,
        base_model_id=inputs.base_model_id,
        parents=dict(parents),
        seed=recipe.seed,
        precision=recipe.quantization + number_type,
        chat=inputs.template.filling if inputs.template else None,
        checks=_checks(inputs) if step == "ppo" and settings["check_weight"] > 0 else (),
    )
    return Need(step, snapshot, parents, settings, parts)


def _checks(inputs: Inputs) -> list[Any]:
    """The checks of the constitution that PPO is rewarded by, in an order of their own."""
    found = {canonical_json(p.check): p.check for p in inputs.constitution.enabled if p.check}
    return [list(check) for _, check in sorted(found.items())]


def _settings(inputs: Inputs, step: Step, snapshot: Snapshot) -> dict[str, Any]:
    """What the key of a step says of how it is done: PPO is sized by its prompts."""
    if step == "evaluate":
        return asked_parts(inputs) | judge_parts(inputs)
    given: dict[str, Any] = getattr(inputs.recipe, step)
    return sized(given, len(snapshot.training)) if step == "ppo" else given
