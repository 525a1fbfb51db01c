"""Whether a trained policy may become the champion: rules held against an evaluation's figures.

A number that is missing or not finite fails, and so does a policy that answered too few questions
or of which its training, or that of what it was made from, changed no weight. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tasks.evaluation.figures import Figure, Figures, Other
from tasks.evaluation.gate_rules import FAMILIES, QUESTIONS, Rule
from tasks.evaluation.gate_words import advice, called, change, interval, number, sides, spoken
from tasks.evaluation.metrics import higher_is_better
from tasks.evaluation.rows import PARENTS

WEIGHTS, ANSWERED = "weights", "questions"  # held of every policy, whatever the recipe says
Kind = Literal["min", "max", "no_worse_than", "max_rise", "max_ratio", "min_ratio"]


@dataclass(frozen=True)
class Verdict:
    """One bound held against one policy. `rule`: the bound as a recipe has it; `value`, `low`,
    `high`: the number held against it, a difference or ratio where it compares; None without one
    that carries a verdict.
    """

    policy: str
    metric: str
    rule: Mapping[str, Any]
    is_passed: bool
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Bound(NamedTuple):
    """One bound of a rule. `other`: whom it compares with; None for a bound on the number itself.

    limit: of `no_worse_than` the margin.
    """

    kind: Kind
    limit: float
    other: Other | None = None


class Held(NamedTuple):
    """A bound of a rule on a metric, and the policy that it is held against."""

    figures: Figures
    policy: str
    metric: str
    rule: Rule
    bound: Bound


def judge(
    figures: Figures,
    rules: Sequence[Rule],
    policies: Iterable[str],
    unmoved: Mapping[str, Sequence[str]],
    least: int = QUESTIONS,
) -> list[Verdict]:
    """Every verdict on these policies, in their order.

    unmoved: by policy, the stages behind it whose training changed no weight. least: questions that
    a verdict must rest on; a default rule on a metric with fewer of any policy is none.
    """
    found: list[Verdict] = []
    for policy in policies:
        found += [_weights(policy, unmoved.get(policy, ())), _answered(figures, policy, least)]
        for metric, rule in _on_metrics(figures, rules, least):
            for bound in _bounds(figures, policy, rule):
                held = Held(figures, policy, metric, rule, bound)
                found += [] if _is_beside_the_point(held) else [_verdict(held, least)]
    return found


def is_passed(verdicts: Iterable[Verdict], policy: str) -> bool:
    """Whether a policy passes every bound that it was held against, which must be some."""
    own = [verdict.is_passed for verdict in verdicts if verdict.policy == policy]
    return bool(own) and all(own)


def _on_metrics(figures: Figures, rules: Sequence[Rule], least: int) -> Iterator[tuple[str, Rule]]:
    """The rules by metric; one on a family is one on each measured member without its own."""
    own = {rule.metric for rule in rules}
    for rule in rules:
        metrics = [rule.metric]
        if rule.metric in FAMILIES:
            metrics = [member for member in figures.members(rule.metric) if member not in own]
        for metric in metrics:
            if not rule.is_default or figures.questions(metric) >= least:
                yield metric, rule


def _bounds(figures: Figures, policy: str, rule: Rule) -> Iterator[Bound]:
    """The bounds of a rule; one against a policy of two names, as parent and champion, once."""
    if rule.min is not None:
        yield Bound("min", rule.min)
    if rule.max is not None:
        yield Bound("max", rule.max)
    names: dict[str, Other] = {}
    for other in rule.no_worse_than:
        names.setdefault(figures.named(policy, other), other)
    for other in names.values():
        yield Bound("no_worse_than", rule.margin, other)
    if rule.max_rise is not None:
        yield Bound("max_rise", rule.max_rise, rule.to)
    if rule.max_ratio is not None:
        yield Bound("max_ratio", rule.max_ratio, rule.to)
    if rule.min_ratio is not None:
        yield Bound("min_ratio", rule.min_ratio, rule.to)


def _is_beside_the_point(held: Held) -> bool:
    """Whether the champion is of the same run as the policy, and nobody asked for a comparison of
    the two: they were held against their base and parents.
    """
    is_sister = held.bound.other == "champion" and held.figures.champion in PARENTS
    return is_sister and held.rule.is_default and _figure(held) is None


def _weights(policy: str, unmoved: Sequence[str]) -> Verdict:
    whose = ", ".join(stage.upper() for stage in unmoved)
    reason = f"training changed no weight of {whose}" if unmoved else "training changed weights"
    return Verdict(policy, WEIGHTS, {"changed": True}, not unmoved, reason)


def _answered(figures: Figures, policy: str, least: int) -> Verdict:
    found = figures.of(policy, "tokens")
    n = found.n if found else 0
    relation = "enough" if n >= least else f"fewer than the {least} it takes"
    reason = f"{n} held-out prompts answered, {relation} for a verdict"
    return Verdict(policy, ANSWERED, {"min": least}, n >= least, reason, float(n))


def _verdict(held: Held, least: int) -> Verdict:
    name, bound = spoken(held.metric), held.bound
    if bound.other and held.figures.named(held.policy, bound.other) == held.policy:
        return _said(
            held, True, f"{name}: this is {called(held.figures, held.policy, bound.other)}"
        )
    found = _figure(held)
    fault = _fault(held, found, least)
    if found is None or fault:
        return _said(held, False, fault)
    is_met, told = _is_met(held, found), _told(held, found)
    if bound.kind == "min_ratio" and not is_met:
        is_met, excuse = _excuse(held)
        told += excuse
    return _said(held, is_met, f"{name} {told}", found)


def _figure(held: Held) -> Figure | None:
    """The number that the bound is on."""
    figures, bound = held.figures, held.bound
    if bound.other is None:
        return figures.of(held.policy, held.metric)
    if bound.kind in ("max_ratio", "min_ratio"):
        return figures.ratio(held.policy, held.metric, bound.other)
    return figures.difference(held.policy, held.metric, bound.other)


def _is_met(held: Held, found: Figure) -> bool:
    """Whether the number keeps the bound; of a comparison, whether any of its interval does."""
    kind, limit = held.bound.kind, held.bound.limit
    low, high = found.low or 0.0, found.high or 0.0
    if kind == "min":
        return found.value >= limit
    if kind == "max":
        return found.value <= limit
    if kind == "no_worse_than":
        return (high if higher_is_better(held.metric) else -low) >= -limit
    return high >= limit if kind == "min_ratio" else low <= limit


def _fault(held: Held, found: Figure | None, least: int) -> str:
    """What makes a number no ground for a verdict; empty for nothing."""
    name, other = spoken(held.metric), held.bound.other
    if found is None:
        beside = f" beside {called(held.figures, held.policy, other)}" if other else ""
        return f"{name} was not measured{beside}{advice(held.metric)}"
    if not (found.is_whole if other else math.isfinite(found.value)):
        return f"{name} has no finite number{' with an interval' if other else ''}"
    if other and found.n < least:
        return f"{name}: {found.n} questions, fewer than the {least} it takes for a verdict"
    return _lacking(held)


def _lacking(held: Held) -> str:
    """Of a reward or KL, that some answers have none, as it was not finite."""
    metric = "kl" if held.metric == "kl_per_token" else held.metric
    own, answers = (held.figures.of(held.policy, name) for name in (metric, "tokens"))
    if metric in ("reward", "kl") and own and answers and own.n < answers.n:
        return f"{spoken(metric)} is not finite of {answers.n - own.n} answers"
    return ""


def _told(held: Held, found: Figure) -> str:
    """The number and its bound in words, to follow the metric's name."""
    (kind, limit, other), is_met = held.bound, _is_met(held, found)
    if other is None:
        relation = "within" if is_met else ("below" if kind == "min" else "above")
        return f"{number(found.value)}{interval(found)}, {relation} {limit:g}"
    whom = called(held.figures, held.policy, other)
    if kind in ("max_ratio", "min_ratio"):
        relation = "within" if is_met else ("below" if kind == "min_ratio" else "above")
        return f"{found.value:.2f} times that of {whom}{interval(found)}, {relation} {limit:g}"
    both = sides(held.figures, held.policy, held.metric, other)
    if kind == "max_rise":
        relation = "within" if is_met else "beyond"
        return f"{both}: {change(found)} to {whom}, {relation} a rise of {limit:g}"
    relation = "no worse" if is_met else "worse"
    by = f" by more than {limit:g}" if limit else ""
    return f"{both}: {change(found)}, {relation} than {whom}{by}"


def _excuse(held: Held) -> tuple[bool, str]:
    """Whether another metric shows that a small ratio did no harm, and how that is told."""
    metric, other = held.rule.excused_by, held.bound.other
    if metric is None or other is None:
        return False, ""
    found, name = held.figures.difference(held.policy, metric, other), spoken(metric)
    if found is None or not found.is_whole:
        return False, f", and nothing excuses it, as {name} was not measured{advice(metric)}"
    is_kept = found.value >= -held.rule.margin
    relation = "but {} has not fallen" if is_kept else "and {} fell"
    both = sides(held.figures, held.policy, metric, other)
    return is_kept, f", {relation.format(name)}: {both}, {change(found)}"


def _said(held: Held, is_met: bool, reason: str, found: Figure | None = None) -> Verdict:
    bound, rule = held.bound, held.rule
    written: dict[str, Any] = {bound.kind: bound.limit}
    if bound.kind == "no_worse_than":
        written = {bound.kind: bound.other, "margin": bound.limit}
    elif bound.other:
        written["to"] = bound.other
    if bound.kind == "min_ratio" and rule.excused_by:
        written |= {"excused_by": rule.excused_by, "margin": rule.margin}
    numbers = found[:3] if found else (None, None, None)
    return Verdict(held.policy, held.metric, written, is_met, " ".join(reason.split()), *numbers)
