"""The verdict in one sentence, and no more in it than the figures carry.

A measure speaks where at least FEWEST questions do and the 95 % interval of the paired difference
leaves out 0. A reward or a win rate speaks only where the model that gave it was better than chance
on held-out pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.explain.run_report import names
from flows.explain.run_report.evidence import Evidence
from flows.explain.run_report.facts import FEWEST, Figure, Stage
from flows.explain.run_report.names import change, number, rounded
from tasks.evaluation.rows import BASE

ONLY_TOLD = ("rule", "stability", "win_rate", "win_rate_by_length", "distinct_1", "distinct_2")
MUCH = 0.25  # of the base's length, from which a change of length is told
MANY = 3  # losses that are named


def sentences(found: Evidence) -> tuple[str, ...]:
    """The verdict on the best policy, then what there is to say of it and of the others."""
    trained = [policy for policy in found.policies if policy != BASE]
    if not trained:
        return ("No verdict: no trained policy was measured.",)
    if n := _too_few(found):
        return (f"No verdict: {n} questions cannot carry one; it takes at least {FEWEST}.",)
    if set(trained) <= set(found.equal):
        return ("Nothing changed: every policy gives the base's own answers, word for word.",)
    metric = _headline(found)
    if metric is None:
        failed = (found.gated[p] for p in trained if p in found.gated and not found.is_passed(p))
        return (f"No verdict: {_why_none(found)}.", *failed)
    best, *others = sorted(trained, key=lambda p: _rank(found, p, metric), reverse=True)
    own = _beyond(found, best, metric)
    said = [_head(found, best, metric), *([f"{titled(best)} {own}."] if own else [])]
    for policy in others:
        more = _beyond(found, policy, metric)
        said.append(f"{_head(found, policy, metric)}{f' It {more}.' if more else ''}")
    return tuple(said)


def _too_few(found: Evidence) -> int:
    """How many questions there are, where these are too few; else 0."""
    counts = [figure.n for own in found.figures.values() for figure in own.values()]
    return max(counts) if counts and max(counts) < FEWEST else 0


def _headline(found: Evidence) -> str | None:
    """The measure that the verdict is on: rules first."""
    known = names.ordered(metric for own in found.figures.values() for metric in own)
    wanted = ["rules", *(m for m in known if m.startswith("probe:")), "win_rate:base", "reward"]
    return next((m for m in wanted if m in known and found.counts(m)), None)


def _why_none(found: Evidence) -> str:
    reason = "no rule that a program checks and no probe was measured"
    has_reward = any("reward" in own for own in found.figures.values())
    return f"{reason}, and {found.reward_model.said}" if has_reward else reason


def _rank(found: Evidence, policy: str, metric: str) -> tuple[bool, bool, float]:
    """Those that are better and may be promoted come first, then the candidate."""
    figure, is_better = found.figure(policy, metric), found.verdict_of(policy, metric) > 0
    is_good = is_better and (found.is_passed(policy) or not found.gates)
    return is_good, policy == found.candidate, figure.value if figure else float("-inf")


def _head(found: Evidence, policy: str, metric: str) -> str:
    """The sentence on a policy: what its gates say, where there are any."""
    is_passed = found.is_passed(policy)
    if policy in found.gated and (metric == "rules" or not is_passed):
        return found.gated[policy]
    said = f"{titled(policy)} {_said(found, policy, metric)}"
    return f"{said}; it passes every gate." if is_passed else f"{said}."


def _beyond(found: Evidence, policy: str, metric: str) -> str:
    """What that sentence leaves out, as the rest of another; empty for nothing."""
    is_passed = found.is_passed(policy)
    if policy not in found.gated or (is_passed and metric != "rules"):
        return ""
    if is_passed and policy not in found.equal:
        return _joined("", _losses(found, policy, metric))
    return _said(found, policy, metric)


def _said(found: Evidence, policy: str, metric: str) -> str:
    """What is known of a policy, as the rest of a sentence that its name begins."""
    own, base = found.figure(policy, metric), found.figure(BASE, metric)
    if policy in found.equal:
        return "gives the base's own answers, word for word"
    if own is None:
        return f"was not measured by {names.in_words(metric)}"
    told = f"{_told(metric, own, base)}{_how_sure(found, policy, metric)}"
    return _joined(told, _losses(found, policy, metric))


def _joined(told: str, losses: Sequence[str]) -> str:
    *first, last = [part for part in (told, *losses) if part] or [""]
    return f"{', '.join(first)}, and {last}" if first else last


def _told(metric: str, own: Figure, base: Figure | None) -> str:
    if metric == "rules":
        where = f" where the base keeps {base.value:.2f}" if base else ""
        return f"keeps {own.value:.2f} of the rules{where}"
    if names.is_win_rate(metric):
        return f"wins {own.value:.2f} of its comparisons with the base"
    where = f" where the base has {number(metric, base.value)}" if base else ""
    return f"has {names.in_words(metric)} {number(metric, own.value)}{where}"


def _how_sure(found: Evidence, policy: str, metric: str) -> str:
    gap = found.difference(policy, metric)
    if gap is None:
        return " (how sure that is was not measured)"
    if not gap.can_tell:
        return f" (too few questions to tell: {gap.n})"
    ends = " to ".join(rounded(end or 0.0, 2) for end in (gap.low, gap.high))
    said = f" ({rounded(gap.value, 2, '+')}, {ends})"
    return said if gap.side() else f"{said}, which is no clear difference"


def _losses(found: Evidence, policy: str, headline: str) -> list[str]:
    """What it is clearly worse in, and how its length changed, where by much."""
    lost = list(_lost(found, policy, headline))
    more = [f"{len(lost) - MANY} more"] if len(lost) > MANY else []
    worse = [f"is worse than the base in {', '.join([*lost[:MANY], *more])}"] if lost else []
    return worse + _length(found, policy)


def _lost(found: Evidence, policy: str, headline: str) -> Iterator[str]:
    known = {headline, *found.failed(policy)}
    for metric in names.ordered(found.figures.get(policy, {})):
        gap = found.difference(policy, metric)
        is_told = names.kind(metric) not in ONLY_TOLD and metric not in known
        if is_told and gap and found.verdict_of(policy, metric) < 0:
            yield f"{names.in_words(metric)} ({change(metric, gap.value)})"


def _length(found: Evidence, policy: str) -> list[str]:
    own, base = found.figure(policy, "tokens"), found.figure(BASE, "tokens")
    gap = found.difference(policy, "tokens")
    is_known = "tokens" in found.failed(policy)
    if is_known or not (own and base and gap and base.value and gap.side()):
        return []
    share = own.value / base.value - 1
    word = "shorter" if share < 0 else "longer"
    return [f"gives {abs(share) * 100:.0f} % {word} answers"] if abs(share) >= MUCH else []


def cautions(found: Evidence, stages: Sequence[Stage]) -> tuple[str, ...]:
    """What a reader must know before believing a figure."""
    return tuple(_cautions(found, stages))


def _cautions(found: Evidence, stages: Sequence[Stage]) -> Iterator[str]:
    known = [metric for own in found.figures.values() for metric in own]
    if "reward" in known:
        yield _sentence(found.reward_model.said)
    if any(names.is_win_rate(metric) for metric in known):
        yield _sentence(found.judge.said)
    for stage in stages:
        if stage.not_learned:
            yield f"{titled(stage.stage)} is not trained: {stage.not_learned}."
    if any(names.is_compared(metric) for metric in known):
        yield (
            "Every interval stands for itself: of twenty measures that did not change, one is"
            " expected to look as if it had."
        )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def titled(policy: str) -> str:
    """A policy's or stage's name as a sentence begins with it."""
    known = {"champion": "The champion", "reward": "The reward model"}
    return known.get(policy, policy.upper())
