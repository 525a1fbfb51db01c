"""Intervals of what was counted."""

from __future__ import annotations

import math

Z_95 = 1.959964  # standard normal quantile of a 95 % interval


def wilson(successes: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927, doi 10.2307/2276774); n > 0."""
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
