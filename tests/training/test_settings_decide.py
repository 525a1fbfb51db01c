"""Every setting of every stage: what changes the result changes the key, and nothing else does.

One training of the tiny model as it is, and one with each setting changed, where need be beside
another setting without which it does nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from flows.plan.settings import filled
from storage.ids import canonical_json
from tasks.training.base import attach_adapter, load_base, lora_config, save_adapter
from tasks.training.keys import deciding
from tasks.training.ppo.config import PPOConfig
from tasks.training.scoring import load_scorer, score_conversations
from tasks.training.settings import DpoSettings, RewardSettings, SftSettings

pytestmark = pytest.mark.slow

Case = tuple[Any, dict[str, Any]]
"""Another value of a setting, and what stands beside it."""

ROWS: list[dict[str, Any]] = [
    {
        "id": f"r{n}",
        "messages": [{"role": "user", "content": "q" * (1 + n % 7)}],
        "response": "ab" * (1 + n % 3),
        "chosen": "a" * (1 + n % 4),
        "rejected": "b" * (1 + n % 3),
        "preference": 0.9,
    }
    for n in range(12)
]
START: dict[str, dict[str, Any]] = {
    "sft": {"batch_size": 2, "max_length": 64, "lora_r": 4, "eval_steps": 2},
    "reward": {"batch_size": 2, "max_length": 64, "lora_r": 4, "eval_steps": 2},
    "dpo": {"batch_size": 2, "max_length": 64, "learning_rate": 1e-3, "eval_steps": 2},
    "ppo": {
        "updates": 2,
        "batch_size": 4,
        "epochs": 2,
        "num_mini_batches": 2,
        "micro_batch_size": 2,
        "max_new_tokens": 6,
        "actor_lr": 3e-3,
        "critic_lr": 3e-3,
        "calibration_samples": 8,
    },
}
SHARED: dict[str, Case] = {
    "learning_rate": (3e-3, {}),
    "epochs": (2.0, {}),
    "max_steps": (3, {}),
    "batch_size": (3, {}),
    "gradient_accumulation": (2, {}),
    "max_length": (24, {}),
    "warmup_ratio": (0.6, {}),
    "gradient_checkpointing": (True, {}),
    "save_steps": (1, {}),
    "save_minutes": (1e-6, {}),
    "eval_steps": (1, {"patience": 1, "learning_rate": 0.3, "epochs": 3.0}),
    "patience": (1, {"learning_rate": 0.3, "epochs": 3.0}),
}
RANK: dict[str, Case] = {"lora_r": (2, {}), "lora_alpha": (2, {})}
ADAPTIVE = {"kl_controller": "adaptive"}
CASES: dict[str, dict[str, Case]] = {
    "sft": SHARED | RANK,
    "reward": RANK | {"start": ("sft", {})},  # SHARED is of one trainer, and tried with SFT
    "dpo": {
        "beta": (0.5, {}),
        "nll_weight": (0.5, {}),
        "loss_type": ("ipo", {}),
        "label_smoothing": (0.2, {}),
    },
    "ppo": {
        "updates": (3, {}),
        "batch_size": (2, {}),
        "epochs": (1, {}),
        "num_mini_batches": (1, {}),
        "micro_batch_size": (1, {}),
        "rollout_batch_size": (1, {}),
        "max_prompt_tokens": (22, {}),
        "long_prompts": ("truncate", {"max_prompt_tokens": 22}),
        "max_new_tokens": (4, {}),
        "stop_token_ids": ([5, 6, 7, 8, 9, 10, 11, 12], {}),
        "temperature": (0.5, {}),
        "top_p": (0.5, {}),
        "top_k": (3, {}),
        "actor_lr": (1e-3, {}),
        "critic_lr": (1e-3, {}),
        "adam_eps": (1e-2, {}),
        "lr_schedule": ("constant", {}),
        "warmup_updates": (2, {}),
        "critic_warmup": (1, {}),
        "max_grad_norm": (1e-4, {}),
        "kl_coef": (0.5, {}),
        "kl_estimator": ("k3", {}),
        "kl_controller": ("adaptive", {}),
        "kl_target": (1e-6, ADAPTIVE),
        "kl_horizon": (10, ADAPTIVE),
        "gamma": (0.5, {}),
        "lam": (0.5, {}),
        "cliprange": (1e-4, {}),
        "cliprange_value": (None, {"critic_lr": 0.3}),
        "vf_coef": (1.0, {}),
        "entropy_coef": (0.1, {}),
        "dual_clip": (1.001, {"actor_lr": 0.3, "epochs": 4, "ratio_threshold": 1e9}),
        "loss_aggregation": ("seq-mean-token-mean", {"stop_token_ids": list(range(128))}),
        "whiten_advantages": (False, {}),
        "whiten_rewards": (True, {}),
        "reward_norm": ("none", {}),
        "check_weight": (2.0, {}),
        "calibration_samples": (4, {}),
        "score_clip": (0.01, {}),
        "missing_eos_penalty": (None, {}),
        "reward_position": ("after_eos", {"stop_token_ids": list(range(128))}),
        "critic_init": ("sft", {}),
        "lora_r": (2, {"critic_init": "fresh"}),
        "lora_alpha": (2, {"critic_init": "fresh"}),
        "gradient_checkpointing": (True, {}),
        "ratio_threshold": (0.5, {}),
        "target_kl": (1e-9, {}),
        "kl_warn": (1e-9, {}),
        "kl_stop": (1e-9, {"actor_lr": 0.3}),
        "save_every": (1, {}),
    },
}
ROUNDING = {"micro_batch_size", "rollout_batch_size"}
"""In the key as sums may round differently, which they need not on a model as small as this."""

Trained = Callable[[str, dict[str, Any]], tuple[bytes, str]]


def test_every_setting_has_a_case() -> None:
    kinds = {"sft": SftSettings, "reward": RewardSettings, "dpo": DpoSettings, "ppo": PPOConfig}
    for stage, kind in kinds.items():
        shared = set() if stage == "ppo" else set(SHARED)
        known = {field.name for field in dataclasses.fields(kind)}
        assert set(CASES[stage]) | shared == known, stage


@pytest.mark.parametrize(
    ("job", "name"), [(job, name) for job, cases in CASES.items() for name in cases]
)
def test_what_changes_the_result_changes_the_key(trained: Trained, job: str, name: str) -> None:
    value, beside = CASES[job][name]
    key, result = trained(job, START[job] | beside)
    other_key, other_result = trained(job, START[job] | beside | {name: value})
    if name not in ROUNDING:
        assert (key == other_key) == (result == other_result)
    assert key != other_key or result == other_result


@pytest.mark.parametrize(
    ("job", "beside", "name", "value"),
    [
        ("sft", {"max_steps": 2}, "epochs", 5.0),
        ("sft", {}, "eval_steps", 1),
        ("reward", {"start": "sft"}, "lora_r", 2),
        ("ppo", {}, "lora_alpha", 2),
        ("ppo", {}, "kl_target", 0.5),
    ],
)
def test_what_another_setting_makes_idle_changes_neither(
    trained: Trained, job: str, beside: dict[str, Any], name: str, value: Any
) -> None:
    settings = START[job] | beside
    assert trained(job, settings) == trained(job, settings | {name: value})


@pytest.fixture(scope="module")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of an SFT adapter and of a reward adapter with its probe."""
    torch.set_num_threads(1)
    root, spec = tmp_path_factory.mktemp("adapters"), {"path": str(tiny), "quantization": "none"}
    sft = attach_adapter(load_base(spec)[0], lora_config(4, 8))
    base, tokenizer = load_scorer(spec, seed=5)
    scorer = attach_adapter(base, lora_config(4, 8, head=True))
    torch.manual_seed(11)
    for model, role in ((sft, "sft"), (scorer, "reward")):
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.05)
        save_adapter(model, root / role / "adapter", "tiny", head=role == "reward")
    chat = [*ROWS[0]["messages"], {"role": "assistant", "content": "a"}]
    (score,) = score_conversations(scorer.eval(), tokenizer, [chat], batch_size=1)
    probe = {"probes": [{"messages": chat, "score": score}]}
    (root / "reward" / "reward_probe.json").write_text(json.dumps(probe))
    return {role: str(root / role / "adapter") for role in ("sft", "reward")}


@pytest.fixture(scope="module")
def trained(
    adapters: dict[str, str], tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """(key, digest of weights and metrics) of a stage under settings, each trained once."""
    from .conftest import Stage

    done: dict[bytes, tuple[bytes, str]] = {}

    def train(job: str, settings: dict[str, Any]) -> tuple[bytes, str]:
        key = canonical_json(deciding(job, filled(job, settings)))
        asked = canonical_json([job, settings])
        if asked not in done:
            made = Stage(tmp_path_factory.mktemp(job), tiny, job, "none").data(ROWS[:8], ROWS[8:])
            roles = {"dpo": ("sft",), "ppo": ("sft", "reward")}.get(job, ())
            roles = ("sft",) if settings.get("start") == "sft" else roles
            made.spec |= {"settings": settings, "adapters": {r: adapters[r] for r in roles}}
            made.spec["checks"] = [["matches_not", "[a-m]"]]
            metrics = made.run()["metrics"]
            written = b"".join(v.numpy().tobytes() for _, v in sorted(made.adapter().items()))
            told = canonical_json(metrics)
            done[asked] = key, hashlib.sha256(written + told).hexdigest()
        return key, done[asked][1]

    return train
