"""Checkpoint keys: everything that decides what a stage writes, known before it is trained.

Pure and light: a plan computes keys without torch. The device is no part of a key; its results are
data, as a draw from a GPU is.
"""

from __future__ import annotations

from collections.abc import Mapping
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
# Settings that change how often state is saved or how work is cut up, never what comes out.
WITHOUT_EFFECT = frozenset({"save_steps", "save_every", "rollout_batch_size"})
# Settings younger than the first checkpoints, at the value that changes nothing: then in no key.
ADDED_LATER = {"nll_weight": 0.0}


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
) -> dict[str, Any]:
    """The parts of a stage's key. `parents`: checkpoint ids by role; settings are all filled in,
    those without effect left out; `chat`: what the model's template is filled with, if anything.
    """
    return {
        "stage": stage,
        "dataset": dataset_id,
        "base_model": base_model_id,
        "parents": dict(parents),
        "settings": {k: v for k, v in settings.items() if not _without_effect(k, v)},
        "seed": seed,
        "precision": precision,
        "libraries": library_versions(),
        "code": fingerprint(MODULES[stage]),
        **({"chat": dict(chat)} if chat else {}),
    }


def _without_effect(name: str, value: Any) -> bool:
    return name in WITHOUT_EFFECT or (name in ADDED_LATER and value == ADDED_LATER[name])


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
