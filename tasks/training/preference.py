"""Formulas of the preference model and of DPO, on tensors alone.

Margins d [N] are score(chosen) - score(rejected), in DPO of the implicit rewards; preferences p [N]
in [0, 1] are the probability that chosen is the better one. Float32 or wider.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(margins: Tensor, preferences: Tensor) -> Tensor:
    """Cross-entropy [N] of P(chosen better) = sigmoid(d) against a soft p (Bradley and Terry 1952).

    With p = 1 it is the usual loss of a reward model or DPO; its minimum is at
    d = log(p / (1 - p)), its slope sigmoid(d) - p.
    """
    return -(preferences * logsigmoid(margins) + (1 - preferences) * logsigmoid(-margins))


def squared_distance(margins: Tensor, preferences: Tensor, wanted: float) -> Tensor:
    """Squared distance [N] of margins to `wanted`, in expectation of a soft p (Azar et al. 2023,
    arXiv:2310.12036, eq. 17, with wanted = 1 / (2 beta)); its minimum is at d = (2 p - 1) wanted.
    """
    right, wrong = (margins - wanted).square(), (margins + wanted).square()
    return preferences * right + (1 - preferences) * wrong


def smoothed(preferences: Tensor, share: float) -> Tensor:
    """Labels p [N] of which a share is taken to be wrong: p (1 - share) + (1 - p) share."""
    return preferences * (1 - 2 * share) + share


def better_nll(logprobs: Tensor, lengths: Tensor, preferences: Tensor) -> Tensor:
    """Mean negative log-likelihood [N] per token of the better response: rejected where p < 1/2.

    logprobs [2N, T]: of each token, chosen first, 0 outside the response; lengths [2N]: its tokens.
    """
    chosen, rejected = (-logprobs.sum(1) / lengths).chunk(2)
    return torch.where(preferences < 0.5, rejected, chosen)


def accuracy(margins: Tensor, preferences: Tensor) -> float | None:
    """Share of decided rows (p != 1/2) whose margin has the right sign; d = 0 is wrong."""
    decided = preferences != 0.5
    if not decided.any():
        return None
    agrees = torch.where(preferences > 0.5, margins > 0, margins < 0)
    return agrees[decided].double().mean().item()


def calibration_error(margins: Tensor, preferences: Tensor, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins of sigmoid(d), in [0, 1].

    Each row counts from both sides, as (d, p) and (-d, 1 - p): which response is called chosen
    must not matter.
    """
    predicted = torch.sigmoid(torch.cat([margins, -margins]).double())
    wanted = torch.cat([preferences, 1 - preferences]).double()
    index = (predicted * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, predicted - wanted)
    return (gaps.abs().sum() / len(predicted)).item()


def correlation(left: Tensor, right: Tensor) -> float | None:
    """Pearson's r of two [N] tensors; None where either does not vary."""
    left, right = left.double() - left.double().mean(), right.double() - right.double().mean()
    scale = (left.norm() * right.norm()).item()
    return (left @ right).item() / scale if scale > 0 else None
