"""Small real parts for the PPO tests: a character tokenizer, a random two-layer Llama, adapters."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tasks.training.base import ADAPTER_WEIGHTS, save_adapter
from tasks.training.ppo.adapters import build_roles
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import encode_prompts
from tasks.training.ppo.roles import Roles
from tasks.training.ppo.trainer import PPOTrainer

torch.set_num_threads(1)  # equal results whatever the machine, and no fight for cores
LORA = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
CHARACTERS = string.ascii_letters + string.digits + " .,!?\n"
CHAT = (
    "{% for m in messages %}{{ m['role'][0] + ' ' + m['content'] + '<eos>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a ' }}{% endif %}"
)


def tokenizer(pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """71 ids: one per character, and <pad>, <eos>, <unk>."""
    names = ["<pad>", "<eos>", "<unk>", *CHARACTERS]
    core = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens(["<pad>", "<eos>", "<unk>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        pad_token=pad,
        unk_token="<unk>",
        chat_template=CHAT,
    )


def base(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Random Llama; its logits are sharpened (x5), or random text would look alike to every
    reward."""
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=71,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            eos_token_id=1,
            bos_token_id=None,
            pad_token_id=0,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        model.lm_head.weight.mul_(5)
    return model.to(dtype).requires_grad_(False)


def write_adapter(folder: Path, seed: int, *, head: bool = False, scale: float = 0.3) -> Path:
    """A random adapter (A and B) in the layout of the stages, with a reward head if asked."""
    model = get_peft_model(base(), LORA)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=scale / 8)
    save_adapter(model, folder, "tiny")
    if head:
        file = folder / ADAPTER_WEIGHTS
        weights = {**load_file(file), "base_model.model.score.weight": torch.randn(1, 64)}
        save_file(weights, file)
    return folder


def write_adapters(root: Path) -> dict[str, Path]:
    """An SFT adapter and a reward adapter with its head, different in every weight."""
    return {
        "sft": write_adapter(root / "sft" / "adapter", 1),
        "reward": write_adapter(root / "reward" / "adapter", 2, head=True),
    }


def roles(
    sft: Path | None = None,
    reward: Path | None = None,
    dtype: torch.dtype = torch.float32,
    **kw: Any,
) -> Roles:
    built = build_roles(base(dtype=dtype), fresh=LORA, sft=sft, reward=reward, **kw)
    for part in (built.model, built.value_head, built.reward_head):
        if part is not None:
            part.to(dtype)
    return built


def rows(count: int = 64) -> list[dict[str, Any]]:
    """Text prompts of 5 to 9 characters."""
    return [
        {"id": i, "prompt": f"say {string.ascii_letters[i % 26] * (1 + i % 5)}"}
        for i in range(count)
    ]


def vowel_share(completions: Sequence[str], **_: Any) -> list[float]:
    """Vowels per character: what a random model does by chance and PPO must raise."""
    return [sum(c in "aeiouAEIOU" for c in text) / max(len(text), 1) for text in completions]


def trainer(
    built: Roles,
    reward: Callable[..., Any] = vowel_share,
    *,
    pad: str = "<pad>",
    count: int = 64,
    seed: int = 0,
    **settings: Any,
) -> PPOTrainer:
    """A trainer on text prompts; defaults are a small batch without penalties."""
    values: dict[str, Any] = {
        "batch_size": 8,
        "micro_batch_size": 4,
        "epochs": 2,
        "max_new_tokens": 6,
        "updates": 6,
        "actor_lr": 3e-3,
        "critic_lr": 3e-3,
        "missing_eos_penalty": None,
        **settings,
    }
    words = tokenizer(pad)
    prompts, _ = encode_prompts(rows(count), words, 64, "drop")
    return PPOTrainer(built, words, prompts, [reward], PPOConfig(**values), seed=seed)


def weights(run: PPOTrainer) -> dict[str, torch.Tensor]:
    """Copies of all trained weights, by name."""
    trained = {**run.roles.trainable("actor"), **run.roles.trainable("critic")}
    return {name: parameter.detach().clone() for name, parameter in trained.items()}


def furthest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Largest absolute difference of two sets of weights."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)
