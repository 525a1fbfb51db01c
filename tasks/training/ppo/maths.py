"""The formulas of PPO for language models, as pure tensor functions.

Shapes: B = rows of the batch, T = longest completion. ``mask`` is [B, T] bool, True where a
completion token is real (up to and including the first EOS). Nothing here knows of models,
tokenizers or devices, and each function works in the dtype it is given.

Sources: Schulman et al. 2017 (https://arxiv.org/abs/1707.06347) for the two clipped losses,
Schulman et al. 2016 (https://arxiv.org/abs/1506.02438) for GAE, Ziegler et al. 2019
(https://arxiv.org/abs/1909.08593) for the KL reward and its controller, Schulman 2020
(http://joschu.net/blog/kl-approx.html) for the estimators k1 and k3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are cut to +- this many nats before exp: one token must not overflow a batch."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over True entries; 0 when there are none."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Unbiased variance over True entries; 0 with fewer than two of them."""
    centred = torch.where(mask, values - masked_mean(values, mask), 0)
    return centred.square().sum() / (mask.sum() - 1).clamp(min=1)


def masked_whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale True entries to unit variance (and zero mean if ``shift_mean``); 0 elsewhere.

    Fewer than two entries have no variance: they come back as they are.
    """
    if int(mask.sum()) < 2:
        return torch.where(mask, values, 0)
    mean = masked_mean(values, mask)
    white = (values - mean) * torch.rsqrt(masked_var(values, mask) + 1e-8)
    return torch.where(mask, white if shift_mean else white + mean, 0)


def completion_mask(lengths: Tensor, width: int) -> Tensor:
    """[B] lengths in tokens -> [B, width] bool, True on the first ``length`` positions."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def value_mask(lengths: Tensor, width: int, position: str) -> Tensor:
    """Where values and returns live: the tokens, with ``after_eos`` (as TRL) one slot more."""
    return completion_mask(lengths + (position == "after_eos"), width)


def token_kl(logprobs: Tensor, reference: Tensor, estimator: str) -> Tensor:
    """Per-token estimate [B, T] of KL(policy || reference): ``k1`` = log p/q, ``k3`` = q/p - 1 -
    log q/p."""
    log_ratio = logprobs - reference
    if estimator == "k1":
        return log_ratio
    if estimator == "k3":
        return torch.exp(-log_ratio) - 1 + log_ratio
    raise ValueError(f"kl_estimator: {estimator}: not an estimator; use k1 or k3")


def token_rewards(
    scores: Tensor, kl: Tensor, lengths: Tensor, kl_coef: float, position: str = "eos"
) -> Tensor:
    """[B] scores and [B, T] KL -> [B, T] rewards: -kl_coef * kl on tokens, plus the score once.

    ``eos`` puts the score on the last real token, ``after_eos`` one slot later where there is one.
    Rows of length 0 get nothing.
    """
    width = kl.shape[1]
    rewards = torch.where(completion_mask(lengths, width), -kl_coef * kl, 0)
    last = (lengths - 1).clamp(min=0)
    if position == "after_eos":
        last = torch.where(lengths < width, lengths, last)
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last] += torch.where(lengths > 0, scores, 0)
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation, backwards in time; no bootstrap after the last slot.

    All [B, T]. Rewards and values outside ``mask`` are zeroed before the recursion, not after it.
    Returns (advantages, returns), with returns = advantages + values, neither of them whitened.
    """
    rewards, values = torch.where(mask, rewards, 0), torch.where(mask, values, 0)
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(running)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = delta + gamma * lam * running
        advantages[:, t], following = running, values[:, t]
    return advantages, advantages + values


def token_weights(mask: Tensor, aggregation: str) -> Tensor:
    """[B, T] weights that sum to 1 over one optimizer step, so micro-batches can be added up.

    ``token-mean`` weighs every token alike; ``seq-mean-token-mean`` every row alike.
    """
    if aggregation == "token-mean":
        return mask / mask.sum().clamp(min=1)
    per_row = mask.sum(1, keepdim=True)
    rows = (per_row > 0).sum().clamp(min=1)
    return mask / per_row.clamp(min=1) / rows


class Loss(NamedTuple):
    """A weighted loss (differentiable scalar), and for the metrics, detached, two of [B, T]."""

    loss: Tensor
    clipped: Tensor
    ratio: Tensor


def policy_loss(
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    weights: Tensor,
    cliprange: float,
    dual_clip: float | None = None,
) -> Loss:
    """Clipped surrogate of PPO (eq. 7), summed with ``weights`` [B, T].

    ``dual_clip`` c > 1 bounds the loss of negative advantages by -c * A
    (https://arxiv.org/abs/1912.09729). Tokens of weight 0 are ignored whatever they hold.
    """
    live = weights > 0
    log_ratio = torch.where(live, new - old, 0).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio = log_ratio.exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    losses = torch.max(plain, clipped)
    if dual_clip is not None:
        bounded = torch.min(losses, -advantages * dual_clip)
        losses = torch.where(advantages < 0, bounded, losses)
    loss = (torch.where(live, losses, 0) * weights).sum()
    return Loss(loss, (clipped > plain) & live, ratio.detach())


def value_loss(
    new: Tensor, old: Tensor, returns: Tensor, weights: Tensor, cliprange: float | None
) -> Loss:
    """Half the squared error, summed with ``weights`` [B, T]; cliprange None: not clipped."""
    live = weights > 0
    error = torch.where(live, new - returns, 0).square()
    clipped = error
    if cliprange is not None:
        near = torch.clamp(new, old - cliprange, old + cliprange)
        clipped = torch.where(live, near - returns, 0).square()
    loss = 0.5 * (torch.max(error, clipped) * weights).sum()
    return Loss(loss, ((clipped > error) & live).detach(), new.detach())


def adapt_kl_coef(kl_coef: float, kl: float, target: float, horizon: int, episodes: int) -> float:
    """Ziegler et al. (section 2.2): a proportional controller in log space, its error cut to +-0.2.

    ``kl`` is the mean KL of a sequence in nats, ``episodes`` the rows seen since the last call.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * episodes / horizon)


def line_fit(inputs: Tensor, outputs: Tensor) -> tuple[float, float]:
    """Slope and intercept of the least-squares line from inputs [n] to outputs [n].

    Where inputs do not vary the slope is 0, and the intercept the mean output.
    """
    centred = inputs - inputs.mean()
    total = float(centred.square().sum())
    slope = float((centred * outputs).sum()) / total if total > 0 else 0.0
    return slope, float(outputs.mean() - slope * inputs.mean())


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the mask; 0 where returns do not vary."""
    total = masked_var(returns, mask)
    if float(total) == 0.0:
        return 0.0
    return float(1 - masked_var(returns - values, mask) / total)
