"""The numbers of one update, named as TRL's PPO names them where it has them.

KL is summed over a sequence, entropy is per token, scores are raw unless they say otherwise.
"""

from __future__ import annotations

import itertools
import resource
from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.training.ppo import maths
from tasks.training.ppo.rollout import Rollout
from tasks.training.ppo.targets import Scored


def rollout_metrics(rollout: Rollout, scored: Scored, kl_coef: float) -> dict[str, float]:
    """What a batch of rollouts says before the update; score/* leave out rows without a score."""
    raw = scored.raw[~scored.raw.isnan()]
    raw = raw if len(raw) else torch.zeros(1)
    kl, lengths = float(scored.kl.mean()), rollout.lengths.float()
    targets = scored.targets
    return {
        "objective/scores": float(raw.mean()),
        "objective/kl": kl,
        "objective/kl_k3": float(scored.kl_k3.mean()),
        "objective/sqrt_kl": max(kl, 0.0) ** 0.5,
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(maths.masked_mean(rollout.entropy, rollout.mask)),
        "objective/non_score_reward": -kl_coef * kl,
        "objective/rlhf_reward": float(scored.shaped.mean()) - kl_coef * kl,
        "score/std": float(raw.std()) if len(raw) > 1 else 0.0,
        "score/min": float(raw.min()),
        "score/max": float(raw.max()),
        "score/unscorable": int(scored.raw.isnan().sum()),
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "eos_rate": float(rollout.terminated.float().mean()),
        "val/num_eos_tokens": int(rollout.terminated.sum()),
        "val/explained_variance": maths.explained_variance(
            rollout.values, targets.returns, targets.value_mask
        ),
        "hack/length_correlation": correlation(scored.raw.nan_to_num(), lengths),
        "hack/distinct": distinct_bigrams(rollout.ids_lists()),
    }


def distinct_bigrams(completions: Sequence[Sequence[int]]) -> float:
    """Different token pairs over all token pairs of a batch; 1 where there are none."""
    pairs = [pair for ids in completions for pair in itertools.pairwise(ids)]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def correlation(left: Tensor, right: Tensor) -> float:
    """Pearson correlation of two [B] tensors; 0 where one does not vary."""
    stacked = torch.stack([left.double(), right.double()])
    if len(left) < 2 or bool((stacked.std(1) == 0).any()):
        return 0.0
    return float(torch.corrcoef(stacked)[0, 1])


def peak_memory() -> int:
    """Bytes: the device's peak where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
