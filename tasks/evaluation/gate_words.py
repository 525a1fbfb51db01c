"""A gate's figures in words: names of metrics and policies, numbers, intervals."""

from __future__ import annotations

from tasks.evaluation.figures import EVEN, WIN_RATES, Figure, Figures, Other
from tasks.evaluation.rows import BASE

NAMES = {
    "rules": "share of rules kept",
    "tokens": "tokens an answer",
    "eos_rate": "share of answers that end by themselves",
    "refusal_rate": "share of answers that refuse",
    "overused": "share of answers with an overused phrase",
    "perplexity": "perplexity of ordinary text",
    "kl": "KL to SFT, nats an answer,",
    "kl_per_token": "KL to SFT, nats a token,",
    "win_rate": "win rate",
    "win_rate_by_length": "win rate at equal length",
}


def spoken(metric: str) -> str:
    """A metric's name for people."""
    family, sign, member = metric.partition(":")
    return NAMES.get(metric) or (f"{NAMES.get(family, family)} {member}" if sign else metric)


def called(figures: Figures, policy: str, other: Other) -> str:
    """A policy's base, parent or champion as people know it."""
    if other == "champion":
        no_champion = figures.champion is None
        return "the base (there is no champion yet)" if no_champion else "the champion"
    name = figures.named(policy, other)
    return "the base" if name == BASE else name.upper()


def sides(figures: Figures, policy: str, metric: str, other: Other) -> str:
    """`0.41 against 0.49`, the policy's own number first; empty where one is not known."""
    if metric in WIN_RATES:
        apart = figures.difference(policy, metric, other)
        return number(apart.value + EVEN) if apart else ""
    own, theirs = (figures.of(p, metric) for p in (policy, figures.named(policy, other)))
    return f"{number(own.value)} against {number(theirs.value)}" if own and theirs else ""


def number(value: float) -> str:
    return f"{value:z.1f}" if abs(value) >= 10 else f"{value:z.2f}"  # z: no minus before 0.00


def change(found: Figure) -> str:
    """A difference with its interval: `+0.22 (0.17 to 0.27, n=34)`."""
    return f"{'+' if found.value >= 0 else ''}{number(found.value)}{interval(found)}"


def interval(found: Figure) -> str:
    """` (0.17 to 0.27, n=34)`; empty where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f" ({number(found.low)} to {number(found.high)}, n={found.n})"


def advice(metric: str) -> str:
    """How to have a metric measured, to follow upon that it was not; empty where it always is."""
    family, _, member = metric.partition(":")
    if family in ("probe", "stability"):
        return f": name {member} in evaluation.probes"
    if family == "rule":
        return ": no enabled principle with a check has this slug, or it meets no prompt"
    if family in WIN_RATES:
        return ": set judge.use"
    return ": set evaluation.perplexity" if family == "perplexity" else ""
