"""From shaped scores to advantages and returns: what the losses of one update aim at.

And what a batch of rollouts says before the update, named as TRL's PPO names it where it does: KL
is summed over a sequence, entropy is per token, scores are raw unless they say otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.rollout import Rollout
from tasks.training.preference import correlation


@dataclass(frozen=True)
class Targets:
    """Scores [B] of a rollout, and what is made of them for the losses, [B, T]."""

    raw: Tensor
    """[B] as the rewards gave them; NaN: cannot be scored."""
    shaped: Tensor
    """[B] normalised, clipped, penalised."""
    kl: Tensor
    """[B] sequence KL to the reference in nats, estimator k1."""
    kl_k3: Tensor
    """[B] the same by estimator k3, which is never negative."""
    mask: Tensor
    """Tokens that are trained on: rows that could not be scored are left out, here and below."""
    value_mask: Tensor
    advantages: Tensor
    returns: Tensor


def make_targets(
    rollout: Rollout, raw: Tensor, shaped: Tensor, kl_coef: float, config: PPOConfig
) -> Targets:
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
    sums = kl["k1"].sum(1), kl["k3"].sum(1)
    return Targets(raw, shaped, *sums, mask, slots, advantages, returns)


def rollout_metrics(rollout: Rollout, targets: Targets, kl_coef: float) -> dict[str, float]:
    """What a batch of rollouts says before the update; score/* leave out rows without a score."""
    raw = targets.raw[~targets.raw.isnan()]
    raw = raw if len(raw) else torch.zeros(1)
    kl, lengths = float(targets.kl.mean()), rollout.lengths.float()
    return {
        "objective/scores": float(raw.mean()),
        "objective/kl": kl,
        "objective/kl_k3": float(targets.kl_k3.mean()),
        "objective/sqrt_kl": max(kl, 0.0) ** 0.5,
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(maths.masked_mean(rollout.entropy, rollout.mask)),
        "objective/non_score_reward": -kl_coef * kl,
        "objective/rlhf_reward": float(targets.shaped.mean()) - kl_coef * kl,
        "score/std": float(raw.std()) if len(raw) > 1 else 0.0,
        "score/min": float(raw.min()),
        "score/max": float(raw.max()),
        "score/unscorable": int(targets.raw.isnan().sum()),
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "eos_rate": float(rollout.terminated.float().mean()),
        "val/num_eos_tokens": int(rollout.terminated.sum()),
        "val/explained_variance": maths.explained_variance(
            rollout.values, targets.returns, targets.value_mask
        ),
        "hack/length_correlation": correlation(targets.raw.nan_to_num(), lengths) or 0.0,
        "hack/distinct": distinct_bigrams(rollout.ids_lists()),
    }


def distinct_bigrams(completions: Sequence[Sequence[int]]) -> float:
    """Different token pairs over all token pairs of a batch; 1 where there are none."""
    pairs = [pair for ids in completions for pair in itertools.pairwise(ids)]
    return len(set(pairs)) / len(pairs) if pairs else 1.0
