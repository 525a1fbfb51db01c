"""What an evaluation asks: the policies, their models, and the calls that their answers are."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from flows.plan.inputs import Inputs
from storage.artifacts import artifact_path
from storage.ids import content_id
from storage.workspace import Workspace
from tasks.evaluation.answers import Policy
from tasks.generation.calls import Call, CallForm, Sampling
from tasks.model_files import Digests, adapter_id

BASE = "base"
POLICIES = ("sft", "dpo", "ppo")
REWARD = "reward"


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
    kind, base = inputs.recipe.quantization, inputs.base_model_id
    return base if kind == "none" else content_id("model", ["quantized", kind, base])


def answer_calls(inputs: Inputs, policy: Policy) -> list[Call]:
    """A policy's answers to the held-out prompts. All policies draw the same random numbers."""
    settings = inputs.recipe.evaluation
    sampling = Sampling(
        settings.temperature,
        1.0,
        settings.max_new_tokens,
        inputs.recipe.generation.max_prompt_tokens,
    )
    form = CallForm("answer", policy.model_id, sampling, same_draws=True)
    return [form.call(p.prompt_id, tuple(p.messages)) for p in inputs.evaluation_prompts]


def unanswered(calls: Iterable[Call], answers: Container[str]) -> list[Call]:
    """The calls whose completion ids are not among `answers`, equal ones once."""
    return list({c.completion_id: c for c in calls if c.completion_id not in answers}.values())


def answer_count(inputs: Inputs) -> int:
    """How many answers a whole evaluation has: every policy's to every prompt."""
    return (len(POLICIES) + 1) * len(inputs.evaluation_prompts)
