"""Log-probabilities of given tokens under a model's logits: said once for all who score text.

Computed in float32 or wider, in nats. Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Half precision -> float32; wider types stay."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def logprobs_of(logits: Tensor, ids: Tensor, temperature: float | Tensor) -> Tensor:
    """Log-probability [B, T] of ids [B, T] under logits [B, T, V] / temperature."""
    logits = widen(logits) / temperature
    return logits.gather(-1, ids[..., None]).squeeze(-1) - logits.logsumexp(-1)


def token_logprobs(
    logits: Tensor, ids: Tensor, temperature: float, *, entropy_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """`logprobs_of`, and the entropy [B, T], which has a gradient only with `entropy_grad`."""
    logits = widen(logits) / temperature
    total = logits.logsumexp(-1)
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1) - total
    with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
        entropy = total - ((logits - total[..., None]).exp() * logits).sum(-1)
    return chosen, entropy
