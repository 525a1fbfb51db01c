"""Load saved adapters and the reward head onto one frozen base, as the roles of PPO."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.engines.logprobs import widen
from tasks.training.base import ADAPTER_WEIGHTS
from tasks.training.ppo.roles import Roles, adapter_parameters
from tasks.training.settings import TrainingInputError


def build_roles(
    base: PreTrainedModel,
    *,
    fresh: LoraConfig,
    sft: Path | None = None,
    reward: Path | None = None,
    critic_init: str = "auto",
) -> Roles:
    """Load the adapters onto a frozen base.

    sft: actor and reference are copies of it; without it the actor is ``fresh`` and the reference
    is the bare base. reward: adapter with its head, in the layout TRL's RewardTrainer saves.
    Raises TrainingInputError for a missing file, a missing head or weights that do not fit.
    """
    config, weights, _ = read_adapter(sft) if sft else (fresh, None, None)
    model = get_peft_model(base, copy.deepcopy(config), adapter_name="actor")
    _fill(model, "actor", weights)
    adapters: dict[str, str | None] = {"actor": "actor", "reference": None, "critic": "critic"}
    if sft:
        _add(model, "reference", config, weights)
        adapters["reference"] = "reference"
    reward_head, reward_parts = None, None
    if reward:
        reward_parts = read_adapter(reward, with_head=True)
        _add(model, "reward", *reward_parts[:2])
        adapters["reward"] = "reward"
        reward_head = make_head(reward_parts[2], base).requires_grad_(False)
    start = critic_init
    if start == "auto":
        start = "reward" if reward else "sft" if sft else "fresh"
    sources = {"reward": reward_parts, "sft": (config, weights, None) if sft else None}
    source = (fresh, None, None) if start == "fresh" else sources[start]
    if source is None:
        raise TrainingInputError(
            f"critic_init={critic_init}", "names an adapter that is not given", "use auto or fresh"
        )
    _add(model, "critic", *source[:2])
    return Roles(model, adapters, make_head(source[2], base, bias=True), reward_head)


def read_adapter(
    folder: Path, *, with_head: bool = False
) -> tuple[LoraConfig, dict[str, Tensor], Tensor | None]:
    """Config, float32 weights and head [1, H] of a saved adapter; head None unless
    ``with_head``."""
    file = Path(folder) / ADAPTER_WEIGHTS
    if not file.is_file():
        raise TrainingInputError(
            folder, "holds no adapter", f"give a folder with {ADAPTER_WEIGHTS}"
        )
    config = LoraConfig.from_pretrained(str(folder))
    config.modules_to_save, config.task_type, config.lora_dropout = None, "CAUSAL_LM", 0.0
    config.base_model_name_or_path = None
    weights = {name: widen(tensor) for name, tensor in load_file(file).items()}
    heads = [name for name in weights if name.endswith("score.weight")]
    if with_head and len(heads) != 1:
        raise TrainingInputError(
            folder, f"has {len(heads)} reward heads (score.weight), not 1", "train the reward stage"
        )
    head = [weights.pop(name) for name in heads]
    return config, weights, head[0] if with_head else None


def make_head(weight: Tensor | None, base: PreTrainedModel, *, bias: bool = False) -> nn.Linear:
    """Linear(H, 1) in float32 on the base's device, zero or a copy of ``weight``; its bias is
    zero."""
    size = base.config.get_text_config().hidden_size
    head = nn.Linear(size, 1, bias=bias, device=base.device, dtype=torch.float32)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        if weight is not None:
            head.weight.copy_(weight)
    return head


def _add(
    model: PeftModel, name: str, config: LoraConfig, weights: dict[str, Tensor] | None
) -> None:
    model.add_adapter(name, copy.deepcopy(config))
    _fill(model, name, weights)


def _fill(model: PeftModel, name: str, weights: dict[str, Tensor] | None) -> None:
    own = adapter_parameters(model, name)
    for parameter in own.values():
        parameter.data = widen(parameter.data)
    if weights is None:
        return
    result: Any = set_peft_model_state_dict(model, dict(weights), adapter_name=name)
    lost = [key for key in result.missing_keys if key in own]
    if lost or result.unexpected_keys or len(weights) != len(own):
        raise TrainingInputError(
            f"adapter of the {name}", "does not fit the base model", "train it on this base"
        )
