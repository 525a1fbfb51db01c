"""The rows of a source that are not used: the first of each reason one by one, the rest counted.

A file may hold any number of them, and a compressed one more than there is memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from tasks.prompts.rows import Exclusion

KEPT = 1000  # of each reason


class LeftOut:
    """Takes rows in their order, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._first: list[Exclusion] = []
        self._next: dict[str, Exclusion] = {}
        self._counts: Counter[str] = Counter()

    def add(self, found: Exclusion) -> None:
        self._counts[found.reason] += 1
        if self._counts[found.reason] <= KEPT:
            self._first.append(found)
        else:
            self._next.setdefault(found.reason, found)

    @property
    def rows(self) -> list[Exclusion]:
        """Those that are kept; then one for all the others of each reason, where the first was."""
        return [*self._first, *(self._rest(found) for found in self._next.values())]

    def _rest(self, found: Exclusion) -> Exclusion:
        count = self._counts[found.reason] - KEPT
        return replace(found, detail=f"{count} rows from here on: {found.detail}", rows=count)


def by_reason(exclusions: Iterable[Exclusion]) -> Counter[str]:
    """How many rows each reason has."""
    counts: Counter[str] = Counter()
    for found in exclusions:
        counts[found.reason] += found.rows
    return counts


def rows_in(exclusions: Iterable[Exclusion]) -> int:
    """How many rows they stand for."""
    return by_reason(exclusions).total()
