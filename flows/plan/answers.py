"""What an evaluation asks: the policies, their models, and the calls that their answers are."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from flows.plan.inputs import Inputs
from storage.artifacts import artifact_path, is_whole
from storage.errors import SolonError
from storage.ids import content_id
from storage.ledger import Ledger
from storage.own_refs import target
from storage.workspace import Workspace
from tasks.evaluation.answers import Policy
from tasks.evaluation.probes import Question
from tasks.evaluation.rows import BASE, CHAMPION
from tasks.generation.calls import Call, CallForm, Sampling
from tasks.model_files import Digests, adapter_id

POLICIES = ("sft", "dpo", "ppo")
REWARD = "reward"
ON_BASE = """
    SELECT checkpoint_id FROM checkpoints
    WHERE checkpoint_id = ? AND base_model_id = ? AND stage IN ('sft', 'dpo', 'ppo')"""


def adapter_of(workspace: Workspace, checkpoint_id: str) -> Path:
    return artifact_path(workspace, checkpoint_id) / "adapter"


def policies_of(
    inputs: Inputs, workspace: Workspace, checkpoints: Mapping[str, str], digests: Digests
) -> dict[str, Policy]:
    """The base and the model of each of these checkpoints (by stage), which must be there."""
    base = quantized_id(inputs)
    found = {BASE: Policy(BASE, base)}
    for stage, checkpoint in checkpoints.items():
        adapter = adapter_of(workspace, checkpoint)
        found[stage] = Policy(stage, adapter_id(adapter, base, digests), adapter, checkpoint)
    return found


def candidates_policy(inputs: Inputs, workspace: Workspace, sft: str) -> Policy:
    """The SFT checkpoint as the model whose answers are candidates; it must be there."""
    return policies_of(inputs, workspace, {"sft": sft}, Digests(workspace))["sft"]


def quantized_id(inputs: Inputs) -> str:
    """The base as checkpoints are trained on it: quantized, it is a model of its own."""
    return quantized(inputs.recipe.quantization, inputs.base_model_id)


def quantized(kind: str, base_model_id: str) -> str:
    """A base as it is loaded with this quantization."""
    if kind == "none":
        return base_model_id
    return content_id("model", ["quantized", kind, base_model_id])


def with_champion(
    inputs: Inputs, workspace: Workspace, ledger: Ledger, checkpoints: Mapping[str, str]
) -> dict[str, str]:
    """A run's checkpoints by stage, and the champion: where it is none of them, is trained on the
    same base, and its files are there. Raises SolonError where they are damaged: without it a gate
    would be passed that was never asked.
    """
    own = {stage: found for stage, found in checkpoints.items() if stage != CHAMPION}
    for row in ledger.query(ON_BASE, [target(ledger, CHAMPION), inputs.base_model_id]):
        champion = row["checkpoint_id"]
        path = artifact_path(workspace, champion)
        if champion in own.values() or not path.exists():
            continue
        if not is_whole(path):
            fix = "run the recipe that made it, or move the ref: solon ref rollback champion"
            raise SolonError(f"champion {champion}: its files are damaged; {fix}")
        return own | {CHAMPION: champion}
    return own


def answer_calls(inputs: Inputs, policy: Policy) -> list[tuple[Question, Call]]:
    """What a policy is asked: every question as often as the recipe says. All policies draw the
    same random numbers.
    """
    settings = inputs.recipe.evaluation
    sampling = Sampling(
        settings.temperature,
        1.0,
        settings.max_new_tokens,
        inputs.recipe.generation.max_prompt_tokens,
        thinking=inputs.thinking,
    )
    form = CallForm("answer", policy.model_id, sampling, same_draws=True)
    return [
        (q, form.call(q.prompt.prompt_id, tuple(q.prompt.messages), sample_index=sample))
        for q in inputs.questions
        for sample in range(settings.answers)
    ]


def unanswered(calls: Iterable[Call], answers: Container[str]) -> list[Call]:
    """The calls whose completion ids are not among `answers`, equal ones once."""
    return list({c.completion_id: c for c in calls if c.completion_id not in answers}.values())


def answer_count(inputs: Inputs, checkpoints: Container[str] = ()) -> int:
    """How many answers a whole evaluation has: every policy's to every question. `checkpoints`: by
    stage, as far as they are known.
    """
    policies = 1 + len(POLICIES) + (CHAMPION in checkpoints)
    return policies * len(inputs.questions) * inputs.recipe.evaluation.answers
