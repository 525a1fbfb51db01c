"""Log-probabilities of given tokens under a model's logits: said once for all who score text."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Half precision -> float32; wider types stay."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def logprobs_of(logits: Tensor, ids: Tensor, temperature: float | Tensor) -> Tensor:
    """Log-probability [B, T] in nats of ids [B, T] under logits [B, T, V], divided by
    `temperature`, in float32 or wider.
    """
    logits = widen(logits) / temperature
    return logits.gather(-1, ids[..., None]).squeeze(-1) - logits.logsumexp(-1)
