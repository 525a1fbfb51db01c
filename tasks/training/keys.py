"""Checkpoint keys: everything that decides what a stage writes, known before it is trained.

Pure and light: a plan computes keys without torch. The device is no part of a key; its results are
data, as a draw from a GPU is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.code import fingerprint, library_versions
from storage.ids import canonical_json, content_id

MODULES = {
    "sft": "tasks.training.sft",
    "reward": "tasks.training.reward",
    "dpo": "tasks.training.dpo",
    "ppo": "tasks.training.ppo.job",
    "evaluate": "tasks.evaluation.answers",
}
# Settings that change what is saved, said or held in memory, never what comes out.
WITHOUT_EFFECT = frozenset(
    {"save_steps", "save_minutes", "save_every", "gradient_checkpointing", "kl_warn"}
)
# Settings that came into keys after the first checkpoints, at the value those had: then in no key.
ADDED_LATER = {
    "nll_weight": 0.0,
    "rollout_batch_size": 16,
    "check_weight": 0.0,
    "loss_type": "sigmoid",
    "label_smoothing": 0.0,
}


def components(
    stage: str,
    settings: Mapping[str, Any],
    *,
    dataset_id: str,
    base_model_id: str,
    parents: Mapping[str, str],
    seed: int,
    precision: str,
    chat: Mapping[str, Any] | None = None,
    checks: Sequence[Any] = (),
) -> dict[str, Any]:
    """The parts of a stage's key. `parents`: checkpoint ids by role; settings are all filled in,
    those without effect left out; `chat`: what the model's template is filled with, if anything;
    `checks`: those of the constitution, [name, parameter] each, where PPO is rewarded by them.
    """
    return {
        "stage": stage,
        "dataset": dataset_id,
        "base_model": base_model_id,
        "parents": dict(parents),
        "settings": deciding(stage, settings),
        "seed": seed,
        "precision": precision,
        "libraries": library_versions(),
        "code": fingerprint(MODULES[stage]),
        **({"chat": dict(chat)} if chat else {}),
        **({"checks": list(checks)} if checks else {}),
    }


def deciding(stage: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what comes out, beside the others."""
    idle = WITHOUT_EFFECT | _idle(stage, settings)
    return {
        name: value
        for name, value in settings.items()
        if name not in idle and not (name in ADDED_LATER and value == ADDED_LATER[name])
    }


def _idle(stage: str, settings: Mapping[str, Any]) -> set[str]:
    """Settings that do nothing because of another: the rank where an adapter is copied, epochs
    where steps are counted, when it is evaluated unless that ends it, what a fixed KL weight
    does not ask for.
    """
    copies = stage == "reward" and settings.get("start") == "sft"
    copies |= stage == "ppo" and settings.get("critic_init") != "fresh"
    found = {"lora_r", "lora_alpha"} if copies else set()
    found |= {"epochs"} if settings.get("max_steps", -1) > 0 else set()
    found |= {"eval_steps"} if not settings.get("patience", 1) else set()
    is_fixed = settings.get("kl_controller") == "fixed"
    return found | ({"kl_target", "kl_horizon"} if is_fixed else set())


def checkpoint_id(parts: Mapping[str, Any]) -> str:
    kind = "evaluation" if parts["stage"] == "evaluate" else "checkpoint"
    return content_id(kind, parts)


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(component, was, is) for every component that differs; nested ones by dotted name.

    As JSON has them, which is how a key is made and read back: a list and a tuple are one.
    """
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*was, *now}):
        before, after = was.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += [(f"{name}.{key}", b, a) for key, b, a in changes(before, after)]
        elif canonical_json(before) != canonical_json(after):
            found.append((name, before, after))
    return found
