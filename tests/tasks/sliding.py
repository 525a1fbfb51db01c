"""A tiny random model whose layers see eight tokens back: its cache takes no prefix."""

from __future__ import annotations

from pathlib import Path

from tasks.convert import random_tiny


def sliding_tiny(folder: Path) -> None:
    """Write the model, with the tokenizer of the tiny random one."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    random_tiny(folder)
    config = MistralConfig(
        vocab_size=259,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(folder)
