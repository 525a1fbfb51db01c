"""What a model must be to be promoted: rules by metric, and those that hold where none is written.

A comparison (`no_worse_than`, `min_ratio`, `max_ratio`, `max_rise`) is missed where its whole 95 %
interval lies beyond the bound; a bound on the number itself (`min`, `max`) where the number does.
A rule on `probe` or `rule` is one on every probe or checked principle that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from tasks.evaluation.figures import OTHERS, WIN_RATES, Other
from tasks.evaluation.metrics import HIGHER_IS_BETTER

FAMILIES = ("probe", "rule")  # a rule on one of these names is a rule on all of its members
QUESTIONS = 8  # with fewer, no worse than anything is said in vain


@dataclass(frozen=True)
class Rule:
    """Bounds on one metric; None for no bound.

    min, max: on the policy's own number. no_worse_than: whom it may not be worse than by more than
    `margin`. min_ratio, max_ratio: on its number over that of `to`; max_rise: on its number minus
    that of `to`. excused_by: a metric; a ratio below `min_ratio` does no harm where that one has
    not fallen by more than `margin` against `to`. is_default: nobody wrote it, so it holds only
    where its metric was measured.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    no_worse_than: tuple[Other, ...] = ()
    margin: float = 0.0
    min_ratio: float | None = None
    max_ratio: float | None = None
    max_rise: float | None = None
    to: Other = "base"
    excused_by: str | None = None
    is_default: bool = False


def _default(metric: str, **bounds: object) -> Rule:
    return Rule(metric, is_default=True, **bounds)  # type: ignore[arg-type]


_ALL = (
    _default("rules", no_worse_than=("champion", "parent")),
    _default("rule", no_worse_than=("champion",), margin=0.1),
    _default("reward", no_worse_than=("champion",)),
    _default("win_rate", no_worse_than=("champion",)),
    _default("probe", no_worse_than=("base",), margin=0.05),
    _default("perplexity", max_ratio=1.1),
    _default("repetition", no_worse_than=("base",), margin=0.05),
    _default("tokens", min_ratio=0.75, max_ratio=1.5, excused_by="probe:helpfulness", margin=0.1),
    _default("eos_rate", no_worse_than=("base",), margin=0.1),
    _default("refusal_rate", max_rise=0.1),
    _default("overused", max=0.5),
    _default("kl_per_token", max=0.5),
)
DEFAULTS: Mapping[str, Rule] = MappingProxyType({rule.metric: rule for rule in _ALL})

OWN = "kl_per_token"  # made of two metrics of the evaluation
_SUFFIXED = ("rule", "probe", "stability")


def metric_names() -> str:
    """Every metric that a rule can be on, for people."""
    plain = [name for name in (*HIGHER_IS_BETTER, OWN) if name not in _SUFFIXED]
    return ", ".join([*plain, "rule", "rule:SLUG", "probe", "probe:NAME", "stability:NAME"])


def is_metric(name: str) -> bool:
    """Whether a rule can be on a metric of that name; whether it is measured is another matter."""
    family, sign, member = name.partition(":")
    if name == OWN:
        return True
    if family not in HIGHER_IS_BETTER:
        return False
    if not sign:
        return family != "stability"
    if family in WIN_RATES:
        return member.split(":")[0] in OTHERS
    return family in _SUFFIXED and bool(member)


def in_force(written: Mapping[str, Mapping[str, Any] | None]) -> list[Rule]:
    """The rules that hold: those written, by metric, then the defaults of other metrics.

    What is written is added to the metric's default, or to its family's, whose bounds stay where
    no other is given; None takes every bound of it away.
    """
    own = [_written(metric, bounds) for metric, bounds in written.items()]
    return own + [rule for metric, rule in DEFAULTS.items() if metric not in written]


def _written(metric: str, bounds: Mapping[str, Any] | None) -> Rule:
    if bounds is None:
        return Rule(metric)
    family = metric.split(":")[0]
    start = DEFAULTS.get(metric) or DEFAULTS.get(family if family in FAMILIES else "")
    return replace(start or Rule(metric), metric=metric, is_default=False, **bounds)
