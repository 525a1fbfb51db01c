"""A judge's report card: how far its word can be trusted. Pure functions over rows.

| measure | of | meaning |
|---|---|---|
| accuracy | decided pairs | the better response was named |
| accuracy_all | all pairs | the same by the mean of the orders alone, ties as one half |
| decided | pairs | neither abstained nor at one half |
| calibration_error | pairs | expected calibration error (Guo et al. 2017, arXiv 1706.04599) |
| consistency | questions | both orders name the same response; one without figures does not |
| first_place | questions, each order | the response shown first was named, ties as one half |
| unparsed | sampled verdicts | no letter could be read |
| longer | pairs of unequal length | the longer response was named, ties as one half |
| longer_in_gold | the same pairs | the longer response is the better one |

Shares of yes and no have Wilson's 95 % interval. A pair may be asked about by several principles:
its label is then what `figures.ensemble` makes of them, as for pairs that are trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.errors import InputError
from tasks.intervals import wilson
from tasks.judging.comparisons import Comparison, Judged
from tasks.judging.figures import Orders, ensemble, settle
from tasks.judging.gold import GoldPair
from tasks.judging.judge import NO_CLAMP

BINS = 5  # of confidence, from one half to one
FLOORS = ("accuracy", "accuracy_all", "decided", "consistency")
Card = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What a judge said to one question about a gold pair; figures are of the pair's first.

    `first_length`, `second_length` in characters.
    """

    pair_id: str
    principle: str
    orders: Orders
    is_first_better: bool
    first_length: int
    second_length: int
    verdicts: int = 0
    unparsed: int = 0


def row_of(gold: GoldPair, comparison: Comparison, judged: Judged) -> Row:
    """The row of a question about a gold pair, whose `one` is the pair's first."""
    return Row(
        gold.pair_id,
        comparison.principle.slug,
        judged.of(comparison),
        gold.is_first_better,
        len(gold.first.text),
        len(gold.second.text),
        judged.verdicts,
        judged.unparsed,
    )


def report_card(
    rows: Iterable[Row], limits: tuple[float, float] = NO_CLAMP, margin: float = 0.1
) -> Card:
    """The card as plain values: the measures, `reliability`, `principles`, `findings`.

    limits, margin: the judge's, by which its figures become labels. A measure is {"value", "low",
    "high", "n"}, value None where nothing counts.
    """
    found = list(rows)
    measured = _measures(found, limits, margin)
    slugs = sorted({row.principle for row in found})
    by_slug = {
        slug: _measures([row for row in found if row.principle == slug], limits, margin)
        for slug in slugs
    }
    findings = _findings(measured)
    return measured | {"principles": by_slug, "findings": findings}


def shortfalls(card: Card, floors: Mapping[str, float]) -> list[str]:
    """What falls short of a floor, a sentence each; raises InputError for an unknown measure."""
    found = []
    for name, floor in floors.items():
        if name not in FLOORS:
            fix = f"use one of {', '.join(FLOORS)}"
            raise InputError(name, "is no measure that can have a floor", fix)
        value, n = card[name]["value"], card[name]["n"]
        if value is None:
            found.append(f"The judge's {name} has no value; it must be at least {floor:g}.")
        elif value < floor:
            measured = f"{value:.3f} (n = {n})"
            found.append(f"The judge's {name} is {measured}; it must be at least {floor:g}.")
    return found


def _measures(rows: Sequence[Row], limits: tuple[float, float], margin: float) -> Card:
    pairs = _pairs(rows, limits, margin)
    decided = [pair for pair in pairs if pair.label not in (None, 0.5)]
    right = [_named(pair.label, pair.is_first_better) for pair in decided]
    told = [pair for pair in pairs if pair.mean is not None]
    verdicts = sum(row.verdicts for row in rows)
    return {
        "pairs": len(pairs),
        "questions": len(rows),
        "abstained": sum(pair.label is None for pair in pairs),
        "accuracy": _share(sum(right), len(right)),
        "accuracy_all": _share(sum(p.agreement for p in told), len(told)),
        "decided": _share(len(decided), len(pairs)),
        "calibration_error": _calibration_error(told),
        "reliability": _reliability(told),
        "consistency": _share(sum(row.orders.is_consistent for row in rows), len(rows)),
        "first_place": _first_place(rows),
        "unparsed": _share(sum(row.unparsed for row in rows), verdicts),
        "longer": _longer(told),
        "longer_in_gold": _longer_in_gold(pairs),
    }


@dataclass(frozen=True)
class _Pair:
    """A pair over all questions: `label` as it would be trained on, `mean` of all figures."""

    label: float | None
    mean: float | None
    is_first_better: bool
    longer: int  # 1 where the first is longer, -1 the second, 0 neither

    @property
    def confidence(self) -> float:
        """Probability of the response that is named."""
        mean = 0.5 if self.mean is None else self.mean
        return max(mean, 1.0 - mean)

    @property
    def agreement(self) -> float:
        """1 where the better response is named, 0 where the other is, else one half."""
        return _named(self.mean, self.is_first_better)


def _pairs(rows: Sequence[Row], limits: tuple[float, float], margin: float) -> list[_Pair]:
    by_pair: dict[str, list[Row]] = {}
    for row in rows:
        by_pair.setdefault(row.pair_id, []).append(row)
    return [
        _Pair(
            ensemble([settle(row.orders, limits, margin) for row in own]),
            ensemble([row.orders.preference for row in own]),
            own[0].is_first_better,
            (own[0].first_length > own[0].second_length)
            - (own[0].first_length < own[0].second_length),
        )
        for own in by_pair.values()
    ]


def _named(figure: float | None, is_first: bool) -> float:
    """Whether a figure names the first (else the second) response: 1, 0, or one half for a tie."""
    if figure is None or figure == 0.5:
        return 0.5
    return float((figure > 0.5) is is_first)


def _reliability(pairs: Sequence[_Pair]) -> list[dict[str, Any]]:
    """{"low", "high", "n", "confidence", "accuracy"} a bin, the last two None where empty."""
    places = [min(int(round((p.confidence - 0.5) * 2 * BINS, 9)), BINS - 1) for p in pairs]
    bins = []
    for number in range(BINS):
        low, high = (0.5 + 0.5 * end / BINS for end in (number, number + 1))
        own = [p for p, place in zip(pairs, places, strict=True) if place == number]
        confidence = math.fsum(p.confidence for p in own) / len(own) if own else None
        accuracy = math.fsum(p.agreement for p in own) / len(own) if own else None
        found = {"n": len(own), "confidence": confidence, "accuracy": accuracy}
        bins.append({"low": low, "high": high, **found})
    return bins


def _calibration_error(pairs: Sequence[_Pair]) -> dict[str, Any]:
    full = [own for own in _reliability(pairs) if own["n"]]
    gaps = [own["n"] * abs(own["accuracy"] - own["confidence"]) for own in full]
    value = math.fsum(gaps) / len(pairs) if pairs else None
    return {"value": value, "low": None, "high": None, "n": len(pairs)}


def _first_place(rows: Sequence[Row]) -> dict[str, Any]:
    forward = [_named(row.orders.forward, True) for row in rows if row.orders.forward is not None]
    backward = [_named(r.orders.backward, False) for r in rows if r.orders.backward is not None]
    return _share(math.fsum(forward + backward), len(forward + backward))


def _longer(pairs: Sequence[_Pair]) -> dict[str, Any]:
    unequal = [pair for pair in pairs if pair.longer]
    return _share(math.fsum(_named(p.mean, p.longer > 0) for p in unequal), len(unequal))


def _longer_in_gold(pairs: Sequence[_Pair]) -> dict[str, Any]:
    unequal = [pair for pair in pairs if pair.longer]
    return _share(sum(p.is_first_better is (p.longer > 0) for p in unequal), len(unequal))


def _share(count: float, n: int) -> dict[str, Any]:
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(count, n)
    return {"value": count / n, "low": low, "high": high, "n": n}


def _findings(card: Card) -> list[str]:
    """What is wrong with the judge as far as the intervals say, a sentence each."""
    accuracy, every = card["accuracy"], card["accuracy_all"]
    first, longer, gold = card["first_place"], card["longer"], card["longer_in_gold"]
    found = []
    if every["n"] and every["high"] < 0.5:
        found.append("It is right less often than chance: its verdicts may be the wrong way round.")
    elif every["n"] and every["low"] <= 0.5:
        found.append("It cannot be told from chance.")
    if first["n"] and not first["low"] <= 0.5 <= first["high"]:
        share, place = first["value"], "first" if first["value"] > 0.5 else "second"
        share = share if share > 0.5 else 1.0 - share
        found.append(f"It names the response shown {place} in {share:.0%} of its answers.")
    if longer["n"] and not longer["low"] <= gold["value"] <= longer["high"]:
        found.append(
            f"It names the longer response in {longer['value']:.0%} of the pairs, where it is the "
            f"better one in {gold['value']:.0%}."
        )
    if card["unparsed"]["value"]:
        found.append(f"{card['unparsed']['value']:.0%} of its sampled verdicts cannot be read.")
    if card["pairs"] and not accuracy["n"]:
        found.append("It decided no pair.")
    return found
