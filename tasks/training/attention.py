"""Attention to short rows on a CPU, in float32 rather than bfloat16.

torch 2.13's fused attention takes two to five times as long in its bfloat16 backward there, for
rows of up to 128 tokens: 12 against 5 ms for 8 of 96 and 9 heads (tests/benchmarks/RESULTS.md,
"Lean training and reading"). From about 200 tokens on bfloat16 is the faster.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

LONGEST = 192
"""Tokens of a row that is short."""


def widen_where_short() -> None:
    """Have this process's models attend by `attend` where they use torch's fused attention."""
    AttentionInterface.register("sdpa", attend)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **how: Any,
) -> tuple[Tensor, None]:
    """transformers' attention by torch's fused one: query, key and value [B, heads, T, size]."""
    if not _is_short(query, key):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    wide = (query.float(), key.float(), value.float())
    found, _ = sdpa_attention_forward(module, *wide, attention_mask, **how)
    return found.to(query.dtype), None


def _is_short(query: Tensor, key: Tensor) -> bool:
    """Whether these are whole rows in bfloat16, without a cache before them, and not long."""
    is_whole = 1 < query.shape[2] == key.shape[2] <= LONGEST
    return is_whole and query.dtype == torch.bfloat16 and query.device.type == "cpu"
