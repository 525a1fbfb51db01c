"""Exact sampling that does not depend on who else is in the batch: Gumbel-max, a draw by counter.

    token = argmax_i  logit_i / temperature + gumbel(seed, step, i)

is one exact draw from softmax(logits / temperature) (Maddison et al. 2014, arXiv:1411.0030, section
2). The noise is a pure function of the row's seed, the step and the token id (a SplitMix64 chain),
so there is no generator to keep, and it is the same on every device and however rows are batched.

Noise for a whole vocabulary would cost more than a small model's step, so only the `TOP` likeliest
tokens get their own. The rest stand as one bucket with their total mass: the maximum of independent
Gumbels is a Gumbel at their log-sum-exp (same section), so this is still an exact draw; when the
bucket wins, a second Gumbel-max chooses inside it.

Shapes: B rows, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TOP = 64
_MASK64 = (1 << 64) - 1


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


@dataclass(frozen=True)
class Draws:
    """How rows draw: temperature [B] float32 (0 is greedy), top_p [B] float32, seed [B] int64.

    `top_k` holds for all rows: so many likeliest tokens take part, before `top_p`; 0 is all.
    """

    temperature: Tensor
    top_p: Tensor
    seed: Tensor
    sampled: bool
    top_k: int = 0

    @classmethod
    def of(
        cls,
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        seeds: Sequence[int],
        device: str = "cpu",
        top_k: int = 0,
    ) -> Draws:
        """From plain numbers; seeds are any 64-bit integers."""
        return cls(
            torch.tensor(temperatures, dtype=torch.float32, device=device),
            torch.tensor(top_ps, dtype=torch.float32, device=device),
            torch.tensor([_signed(seed) for seed in seeds], dtype=torch.int64, device=device),
            any(temperature > 0 for temperature in temperatures),
            top_k,
        )

    def rows(self, keep: Tensor) -> Draws:
        """Only the rows whose indices are in `keep`."""
        temperature, top_p, seed = self.temperature[keep], self.top_p[keep], self.seed[keep]
        return Draws(temperature, top_p, seed, self.sampled, self.top_k)


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014) on int64, shifts taken as unsigned."""
    state = (state ^ ((state >> 30) & ((1 << 34) - 1))) * MIX[0]
    state = (state ^ ((state >> 27) & ((1 << 37) - 1))) * MIX[1]
    return state ^ ((state >> 31) & ((1 << 33) - 1))


def gumbel(seed: Tensor, step: int, tokens: Tensor) -> Tensor:
    """Standard Gumbel noise [B, N] float64 for tokens [B, N], of rows with `seed` [B] at `step`."""
    row = _mix(_mix(seed + GOLDEN) + _signed((step + 1) * GOLDEN))
    bits = _mix(row[:, None] + (tokens + 1) * GOLDEN)
    uniform = ((bits >> 11) & ((1 << 53) - 1)).double() * 2.0**-53 + 2.0**-54
    return -(-uniform.log()).log()


def choose(logits: Tensor, draws: Draws, step: int) -> Tensor:
    """The next token of every row [B], from logits [B, V] of any float type.

    Raises FloatingPointError when sampled rows are there and a logit is not a finite number.
    """
    logits = logits.float()  # before argmax, which is several times slower in bfloat16
    if not draws.sampled:
        return logits.argmax(-1)
    if not bool(logits.logsumexp(-1).isfinite().all()):
        raise FloatingPointError("the model's logits are not finite numbers")
    if draws.top_k:
        logits = _likeliest(logits, draws.top_k)
    chosen = torch.empty_like(draws.seed)
    hot, whole = draws.temperature > 0, draws.top_p >= 1
    for rows, draw in ((~hot, _greedy), (hot & whole, _from_all), (hot & ~whole, _from_nucleus)):
        index = rows.nonzero()[:, 0]
        if len(index) == len(logits):
            return draw(logits, draws, step)
        if len(index):
            chosen[index] = draw(logits[index], draws.rows(index), step)
    return chosen


def _likeliest(logits: Tensor, count: int) -> Tensor:
    """-inf for all but the `count` likeliest tokens of a row, and those level with the last."""
    last = logits.topk(min(count, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < last, -torch.inf)


def _greedy(logits: Tensor, _draws: Draws, _step: int) -> Tensor:
    return logits.argmax(-1)


def _from_all(logits: Tensor, draws: Draws, step: int) -> Tensor:
    """One token a row [B] from the whole distribution: top tokens, and one bucket for the rest."""
    size = logits.shape[-1]
    scaled = logits / draws.temperature[:, None]
    top, tokens = scaled.topk(min(TOP, size), dim=-1)
    others = scaled.scatter(-1, tokens, -torch.inf)
    bucket = torch.full_like(tokens[:, :1], size)  # its noise has an id that no token has
    tokens = torch.cat([tokens, bucket], -1)
    scores = torch.cat([top, others.logsumexp(-1, keepdim=True)], -1)
    winner = (scores + gumbel(draws.seed, step, tokens)).argmax(-1, keepdim=True)
    chosen = tokens.gather(-1, winner)[:, 0]
    inside = (chosen == size).nonzero()[:, 0]
    if len(inside):
        everything = torch.arange(size, device=logits.device).expand(len(inside), size)
        chosen[inside] = (others[inside] + gumbel(draws.seed[inside], step, everything)).argmax(-1)
    return chosen


def _from_nucleus(logits: Tensor, draws: Draws, step: int, width: int = TOP) -> Tensor:
    """One token a row [B] from its nucleus: the fewest likeliest tokens with mass >= top_p.

    Looks at the `width` likeliest tokens; rows whose nucleus is wider are looked at again.
    """
    scaled = logits / draws.temperature[:, None]
    top, tokens = scaled.topk(min(width, scaled.shape[-1]), dim=-1)
    share = (top - scaled.logsumexp(-1, keepdim=True)).exp()
    before = share.cumsum(-1) - share  # mass of the likelier tokens
    kept = top.where(before < draws.top_p[:, None], -torch.inf)
    winner = (kept + gumbel(draws.seed, step, tokens)).argmax(-1, keepdim=True)
    chosen = tokens.gather(-1, winner)[:, 0]
    wider = (share.sum(-1) < draws.top_p).nonzero()[:, 0]
    if len(wider) and width < scaled.shape[-1]:
        chosen[wider] = _from_nucleus(logits[wider], draws.rows(wider), step, width * TOP)
    return chosen
