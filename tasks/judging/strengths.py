"""From pairwise preferences among K responses to one prompt to a ranking: Bradley–Terry.

Bradley & Terry 1952 (doi 10.2307/2334029): P(i better than j) = w_i / (w_i + w_j). A preference p
is p wins of the one and 1 - p of the other. `PRIOR` wins each way between every two responses, a
weak pull towards equal strengths, keep the maximum finite and unique where a judge is sure or
abstains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PRIOR = 0.1
TIED = 1e-6  # log-strengths closer than this are equal
MOST_ITERATIONS = 10_000


def strengths(count: int, preferences: Mapping[tuple[int, int], float]) -> list[float]:
    """Log-strengths of `count` responses, with mean 0.

    preferences: {(i, j): probability in [0, 1] that i is better than j}; pairs may be missing.
    """
    if count < 2:
        return [0.0] * count
    import numpy as np  # half a second with what choix imports: a plan needs neither
    from choix import ilsr_pairwise_dense

    wins = np.full((count, count), PRIOR)
    np.fill_diagonal(wins, 0.0)
    for (i, j), preference in preferences.items():
        wins[i, j] += preference
        wins[j, i] += 1.0 - preference
    found = ilsr_pairwise_dense(wins, max_iter=MOST_ITERATIONS)
    return [float(value) for value in found - found.mean()]


def ranking(strengths: Sequence[float], names: Sequence[str]) -> list[list[int]]:
    """Places of the responses, best first, equal ones together and in the order of their names.

    Whoever makes pairs takes them from different groups: within one there is no better response.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(strengths)), key=lambda n: -strengths[n]):
        if groups and strengths[groups[-1][-1]] - strengths[place] <= TIED:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [sorted(group, key=lambda n: names[n]) for group in groups]
