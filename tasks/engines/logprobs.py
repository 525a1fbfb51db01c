"""The log-probability of given tokens under a model's logits, computed in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor


def token_logprobs(
    logits: Tensor, ids: Tensor, temperature: float, *, entropy_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of ids [b, T], and entropy [b, T], under logits [b, T, V] / temperature.

    In nats. The entropy has a gradient only with `entropy_grad`.
    """
    logits = widen(logits) / temperature
    total = logits.logsumexp(-1)
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1) - total
    with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
        entropy = total - ((logits - total[..., None]).exp() * logits).sum(-1)
    return chosen, entropy


def widen(tensor: Tensor) -> Tensor:
    """Half precision -> float32; wider types stay."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
