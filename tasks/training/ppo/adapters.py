"""Load saved adapters and the reward head onto one frozen base, as the roles of PPO."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.engines.logprobs import widen
from tasks.training.base import adapter_file
from tasks.training.lora import keep_inputs_only
from tasks.training.ppo.roles import Roles, adapter_parameters
from tasks.training.settings import require


class Source(NamedTuple):
    """What an adapter starts from; without weights it is fresh."""

    config: LoraConfig
    weights: dict[str, Tensor] | None = None
    head: Tensor | None = None


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
    sources = {"fresh": Source(fresh)}
    if sft:
        sources["sft"] = read_adapter(sft)
    if reward:
        sources["reward"] = read_adapter(reward, with_head=True)
    if critic_init == "auto":
        critic_init = next(name for name in ("reward", "sft", "fresh") if name in sources)
    rule, fix = "names an adapter that is not given", "use auto or fresh"
    require(critic_init in sources, f"critic_init={critic_init}", rule, fix)
    actor = sources["sft" if sft else "fresh"]
    model = get_peft_model(base, copy.deepcopy(actor.config), adapter_name="actor")
    _fill(model, "actor", actor.weights)
    adapters: dict[str, str | None] = {"actor": "actor", "reference": None, "critic": "critic"}
    reward_head = None
    if sft:
        adapters["reference"] = _add(model, "reference", sources["sft"])
    if reward:
        adapters["reward"] = _add(model, "reward", sources["reward"])
        reward_head = make_head(sources["reward"].head, base).requires_grad_(False)
    _add(model, "critic", sources[critic_init])
    keep_inputs_only(model)
    return Roles(
        model, adapters, make_head(sources[critic_init].head, base, bias=True), reward_head
    )


def read_adapter(folder: Path, *, with_head: bool = False) -> Source:
    """A saved adapter, its weights in float32; without its head unless ``with_head``."""
    file = adapter_file(folder)
    config = LoraConfig.from_pretrained(str(folder))
    config.modules_to_save, config.task_type, config.lora_dropout = None, "CAUSAL_LM", 0.0
    config.base_model_name_or_path = None
    weights = {name: widen(tensor) for name, tensor in load_file(file).items()}
    heads = [name for name in weights if name.endswith("score.weight")]
    rule = f"has {len(heads)} reward heads (score.weight), not 1"
    require(not with_head or len(heads) == 1, folder, rule, "train the reward stage")
    head = [weights.pop(name) for name in heads]
    return Source(config, weights, head[0] if with_head else None)


def make_head(weight: Tensor | None, base: PreTrainedModel, *, bias: bool = False) -> nn.Linear:
    """Linear(H, 1) in float32, zero or a copy of ``weight``; its bias is zero."""
    size = base.config.get_text_config().hidden_size
    head = nn.Linear(size, 1, bias=bias, device=base.device, dtype=torch.float32)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        if weight is not None:
            head.weight.copy_(weight)
    return head


def _add(model: PeftModel, name: str, source: Source) -> str:
    model.add_adapter(name, copy.deepcopy(source.config))
    _fill(model, name, source.weights)
    return name


def _fill(model: PeftModel, name: str, weights: dict[str, Tensor] | None) -> None:
    own = adapter_parameters(model, name)
    for parameter in own.values():
        parameter.data = widen(parameter.data)
    if weights is None:
        return
    result: Any = set_peft_model_state_dict(model, dict(weights), adapter_name=name)
    lost = [key for key in result.missing_keys if key in own]
    fits = not lost and not result.unexpected_keys and len(weights) == len(own)
    require(fits, f"adapter of the {name}", "does not fit the base model", "train it on this base")
