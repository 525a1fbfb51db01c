"""The figures of an evaluation as comparisons: of a policy alone, beside another, over another's.

They are read from summary rows, {"policy", "metric", "value", "low", "high", "n"}. A difference is
the row `<metric>_minus_<other>`, paired by question; a ratio is `<metric>_over_<other>`, else made
of the difference and the other's mean. Two names may mean one policy (DPO's parent is SFT, which
may be the champion): a comparison is found under each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

from tasks.evaluation.rows import BASE, CHAMPION, PARENTS

Other = Literal["base", "parent", "champion"]
OTHERS: tuple[Other, ...] = get_args(Other)
WIN_RATES = ("win_rate", "win_rate_by_length")
EVEN = 0.5  # the win rate of two policies of which none is better
_ENDS = tuple(f"_{how}_{other}" for how in ("minus", "over") for other in OTHERS)


class Figure(NamedTuple):
    """A number with its 95 % interval, and the questions behind it."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def is_whole(self) -> bool:
        """Whether the number and both ends of its interval are there and finite."""
        return all(end is not None and math.isfinite(end) for end in self[:3])

    def moved(self, by: float) -> Figure:
        low, high = (None if end is None else end + by for end in (self.low, self.high))
        return Figure(self.value + by, low, high, self.n)

    def scaled(self, by: float) -> Figure:
        """Multiplied by a number above 0."""
        low, high = (None if end is None else end * by for end in (self.low, self.high))
        return Figure(self.value * by, low, high, self.n)


class Figures:
    """The summary of one evaluation. `champion`: the policy that is it; None where there is none,
    and then the base stands in its place.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], champion: str | None) -> None:
        self.champion = champion
        self._known = {
            (row["policy"], row["metric"]): Figure(row["value"], row["low"], row["high"], row["n"])
            for row in rows
        }

    def of(self, policy: str, metric: str) -> Figure | None:
        """The policy's own figure; `kl_per_token` is the mean KL over the mean length, in nats."""
        if metric == "kl_per_token":
            kl, tokens = self.of(policy, "kl"), self.of(policy, "tokens")
            return kl.scaled(1 / tokens.value) if kl and tokens and tokens.value > 0 else None
        return self._known.get((policy, metric))

    def members(self, family: str) -> list[str]:
        """The metrics `<family>:...` that were measured, in the order of the rows."""
        start = f"{family}:"
        names = (metric for _, metric in self._known if metric.startswith(start))
        return list(dict.fromkeys(name for name in names if not name.endswith(_ENDS)))

    def questions(self, metric: str) -> int:
        """The most questions behind this metric of any policy; 0 where nobody was measured."""
        names = {"kl" if metric == "kl_per_token" else metric}
        if metric in WIN_RATES:
            names = {f"{metric}:{other}" for other in OTHERS}
        return max((f.n for (_, name), f in self._known.items() if name in names), default=0)

    def named(self, policy: str, other: Other) -> str:
        """The policy that is another's base, parent or champion."""
        if other == "parent":
            return PARENTS.get(policy, BASE)
        return BASE if other == "base" else self.champion or BASE

    def difference(self, policy: str, metric: str, other: Other) -> Figure | None:
        """The policy's figure minus the other's; of a win rate, minus a half."""
        if metric in WIN_RATES:
            found = self._compared(policy, other, f"{metric}:{{}}")
            return found.moved(-EVEN) if found else None
        return self._compared(policy, other, f"{metric}_minus_{{}}")

    def ratio(self, policy: str, metric: str, other: Other) -> Figure | None:
        """The policy's figure over the other's; where no row has it, the other's mean is taken as
        exact.
        """
        found = self._compared(policy, other, f"{metric}_over_{{}}")
        if found is None:
            apart = self.difference(policy, metric, other)
            theirs = self.of(self.named(policy, other), metric)
            if apart and theirs and theirs.value > 0:
                found = apart.scaled(1 / theirs.value).moved(1.0)
        return found

    def _compared(self, policy: str, other: Other, form: str) -> Figure | None:
        """The row of that form under any name of the other; nothing, from a policy to itself."""
        if self.named(policy, other) == policy:
            own = 1.0 if "_over_" in form else EVEN if form.endswith(":{}") else 0.0
            return Figure(own, own, own, 0)
        found = (self.of(policy, form.format(name)) for name in self._names(policy, other))
        return next((figure for figure in found if figure), None)

    def _names(self, policy: str, other: Other) -> Iterator[Other]:
        """What the other is called in rows; in them `champion` is a policy of that name alone."""
        wanted = self.named(policy, other)
        for name in (other, *OTHERS):
            is_other = name == "champion" and self.champion not in (None, CHAMPION)
            if self.named(policy, name) == wanted and not is_other:
                yield name
