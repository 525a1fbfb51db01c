"""How often the judge prefers a policy's answer to another's: pure functions.

A prompt is won (1), lost (0) or tied (0.5): the judge is asked in both orders, by every principle
the prompt meets, and ties where it contradicts itself or finds both equal; so do equal answers,
which are not asked about. Of each question the first sample is compared.

| metric | what |
|---|---|
| win_rate:<other> | mean over prompts; other: base, parent or champion |
| win_rate_by_length:<other> | the same, were both answers of one length |
| win_rate:<other>:<slug> | by one principle's question |

The length-controlled rate is that of Dubois et al. 2024 (arXiv 2404.04475), section 3: a logistic
regression of the win on tanh(difference in length / its standard deviation), predicted where the
difference is zero. Departures: no term for the prompt's difficulty (each is asked once); a weak
ridge, so that a policy that always wins has a finite fit; lengths in characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.resampling import bootstrap, draws, interval
from tasks.evaluation.rows import WINS, read_rows
from tasks.intervals import wilson

RIDGE = (0.01, 0.1)  # of the intercept, and of the slope over length
STEPS = 25  # of Newton's method; it ends within ten
LARGEST_STEP = 2.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Win:
    """What the judge says of a policy's answer to a question, beside another policy's.

    preference: probability in [0, 1] that it is the better one, None where the judge abstains; by:
    the same by each principle's slug; lengths in characters.
    """

    policy: str
    other: str
    question_id: str
    preference: float | None
    by: Mapping[str, float | None]
    length: int
    other_length: int

    @property
    def value(self) -> float:
        return points(self.preference)


def read_wins(folder: Path) -> list[Win]:
    """The rows of an evaluation's file of them, given its folder."""
    return [Win(**row) for row in read_rows(folder / WINS)]


def points(preference: float | None) -> float:
    """1 for a win, 0 for a loss, 0.5 for a tie or an abstention."""
    if preference is None or preference == 0.5:
        return 0.5
    return float(preference > 0.5)


def win_rows(
    policy: str, others: Mapping[str, str], wins: Sequence[Win], seed: int
) -> list[dict[str, Any]]:
    """{"policy", "metric", "value", "low", "high", "n"} of a policy; others: names by role."""
    rows = []
    for role, name in others.items():
        own = [win for win in wins if (win.policy, win.other) == (policy, name)]
        for metric, numbers in _rates(role, own, seed):
            rows.append({"policy": policy, "metric": metric, **numbers})
    return rows


def _rates(role: str, own: Sequence[Win], seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if not own:
        return
    yield f"win_rate:{role}", _rate([win.value for win in own], seed)
    yield f"win_rate_by_length:{role}", _controlled_rate(own, seed)
    slugs = dict.fromkeys(slug for win in own for slug in win.by)
    for slug in slugs:
        values = [points(win.by[slug]) for win in own if slug in win.by]
        yield f"win_rate:{role}:{slug}", _rate(values, seed)


def _rate(values: Sequence[float], seed: int) -> dict[str, Any]:
    count, total = len(values), math.fsum(values)
    low: float | None = None
    high: float | None = None
    if count > 1:
        is_sure = all(value in (0.0, 1.0) for value in values)
        low, high = wilson(total, count) if is_sure else bootstrap(values, seed)
    return {"value": total / count, "low": low, "high": high, "n": count}


def _controlled_rate(own: Sequence[Win], seed: int) -> dict[str, Any]:
    won = np.array([win.value for win in own])
    gap = np.array([float(win.length - win.other_length) for win in own])
    scaled = np.tanh(gap / (gap.std() or 1.0))
    value = float(controlled(won, scaled, np.ones((1, len(own))))[0])
    low, high = None, None
    if len(own) > 1:
        low, high = interval(controlled(won, scaled, draws(len(own), seed)))
    return {"value": value, "low": low, "high": high, "n": len(own)}


def controlled(won: Floats, scaled: Floats, times: Floats) -> Floats:
    """The probability of a win at no difference in length, for each row of weights [B, n].

    won: [n] in [0, 1]; scaled: [n], the differences. Maximum likelihood with a ridge, by Newton's
    method with steps of limited length.
    """
    design = np.stack([np.ones_like(scaled), scaled], 1)  # [n, 2]
    ridge, weights = np.array(RIDGE), np.zeros((len(times), 2))
    for _ in range(STEPS):
        chance = _sigmoid(weights @ design.T)  # [B, n]
        slope = (times * (won - chance)) @ design - ridge * weights
        curve = np.einsum("bn,ni,nj->bij", times * chance * (1 - chance), design, design)
        step = np.linalg.solve(curve + np.diag(ridge), slope[..., None])[..., 0]
        weights += np.clip(step, -LARGEST_STEP, LARGEST_STEP)
    return _sigmoid(weights[:, 0])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
