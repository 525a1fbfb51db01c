"""From shaped scores to advantages and returns: what the losses of one update aim at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.rollout import Rollout


@dataclass(frozen=True)
class Targets:
    """What the losses aim at, each [B, T]; ``mask`` leaves out rows that could not be scored."""

    mask: Tensor
    value_mask: Tensor
    advantages: Tensor
    returns: Tensor


@dataclass(frozen=True)
class Scored:
    """Scores [B] of a rollout and the targets made from them."""

    raw: Tensor
    """As the rewards gave them; NaN: cannot be scored."""
    shaped: Tensor
    """Normalised, clipped, penalised."""
    kl: Tensor
    """Sequence KL to the reference in nats, estimator k1."""
    kl_k3: Tensor
    """The same by estimator k3, which is never negative."""
    targets: Targets


def make_targets(
    rollout: Rollout, raw: Tensor, shaped: Tensor, kl_coef: float, config: PPOConfig
) -> Scored:
    """Token rewards, then GAE, then whitening; rows without a raw score (NaN) are masked out."""
    kl = {e: maths.token_kl(rollout.logprobs, rollout.ref_logprobs, e) for e in ("k1", "k3")}
    used, width, valid = kl[config.kl_estimator], kl["k1"].shape[1], ~raw.isnan()[:, None]
    mask = rollout.mask & valid
    slots = maths.value_mask(rollout.lengths, width, config.reward_position) & valid
    rewards = maths.token_rewards(
        shaped.to(used.dtype), used, rollout.lengths, kl_coef, config.reward_position
    )
    if config.whiten_rewards:
        rewards = maths.masked_whiten(rewards, slots, shift_mean=False)
    advantages, returns = maths.gae(rewards, rollout.values, slots, config.gamma, config.lam)
    advantages = torch.where(mask, advantages, 0)
    if config.whiten_advantages:
        advantages = maths.masked_whiten(advantages, mask)
    return Scored(
        raw, shaped, kl["k1"].sum(1), kl["k3"].sum(1), Targets(mask, slots, advantages, returns)
    )
