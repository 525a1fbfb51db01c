"""Percentile bootstrap of means: what is drawn again is questions, so samples of one stay together.

95 % intervals (Efron and Tibshirani 1993, section 13.3). The same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CHUNK = 4_000_000  # drawn indices in memory at once
_BOUNDS = (2.5, 97.5)


def bootstrap(
    values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of at least one value."""
    data = np.asarray(values, dtype=np.float64)
    return interval(_means(data, seed, resamples))


def interval(statistics: NDArray[np.float64]) -> tuple[float, float]:
    """Between which 95 % of a statistic's resampled values lie.

    Rounded to 12 decimals: a sum of thirds that is nothing may else end a hair below 0.
    """
    low, high = np.round(np.percentile(statistics, _BOUNDS), 12) + 0.0
    return float(low), float(high)


@lru_cache(maxsize=32)
def draws(count: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each of so many questions is drawn: [resamples, count], every row sums to count.

    Kept, as the measures of an evaluation share their questions. For small counts only.
    """
    generator, times = np.random.default_rng(seed), np.empty((resamples, count))
    for row in times:
        row[:] = np.bincount(generator.integers(count, size=count), minlength=count)
    return times


def _means(data: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    if resamples * len(data) <= _CHUNK:
        # centred, so that equal values give exactly their mean
        centre = data.mean() if np.ptp(data) else data[0]
        return np.asarray(centre + draws(len(data), seed, resamples) @ (data - centre) / len(data))
    generator, rows = np.random.default_rng(seed), max(1, _CHUNK // len(data))
    means = [
        data[generator.integers(len(data), size=(min(rows, resamples - start), len(data)))].mean(1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(means)
