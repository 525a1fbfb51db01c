"""The verdict in one sentence, and no more in it than the figures carry.

A measure speaks where at least FEWEST questions do and the 95 % interval of the paired difference
leaves out 0. A reward or a win rate speaks only where the model that gave it was better than chance
on held-out pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.explain.run_report import names
from flows.explain.run_report.report import FEWEST, Figure, Gate, Stage, Trust
from tasks.intervals import wilson

BASE = "base"
HEADLINES = ("rules", "probe:helpfulness", "probe:instruction-following", "win_rate:base")
ONLY_TOLD = ("rule", "stability", "win_rate", "win_rate_by_length", "distinct_1", "distinct_2")
MUCH_SHORTER = 0.25  # of the base's length, from which a change of length is told
MANY = 2  # losses that are named


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made of; see RunReport."""

    policies: Sequence[str]
    figures: Mapping[str, Mapping[str, Figure]]
    gates: Sequence[Gate]
    equal: Sequence[str]
    reward_model: Trust
    judge: Trust

    def figure(self, policy: str, metric: str) -> Figure | None:
        return self.figures.get(policy, {}).get(metric)

    def difference(self, policy: str, metric: str) -> Figure | None:
        """To the base, question by question; of a win rate what it exceeds one half by."""
        found = self.figure(policy, names.difference(metric))
        rate = self.figure(policy, metric)
        if found is None and rate and names.kind(metric).startswith("win_rate"):
            low, high = (None if end is None else end - 0.5 for end in (rate.low, rate.high))
            return Figure(rate.value - 0.5, low, high, rate.n)
        return found

    def counts(self, metric: str) -> bool:
        """Whether a measure is evidence at all."""
        if metric == "reward":
            return self.reward_model.is_tested
        return self.judge.is_tested if names.kind(metric).startswith("win_rate") else True

    def verdict_of(self, policy: str, metric: str) -> int:
        """1 where a policy is clearly better than the base by a measure, -1 worse, 0 neither."""
        gap = self.difference(policy, metric)
        if gap is None or not self.counts(metric):
            return 0
        is_higher = names.is_higher_better(metric)
        none = 1.0 if metric == "perplexity" else 0.0  # a ratio
        return 0 if is_higher is None else gap.side(none) * (1 if is_higher else -1)


def sentences(found: Evidence) -> tuple[str, ...]:
    """The verdict, then what there is to say of the other policies."""
    trained = [policy for policy in found.policies if policy != BASE]
    if not trained:
        return ("No verdict: no trained policy was measured.",)
    if n := _too_few(found):
        return (f"No verdict: {n} questions cannot carry one; it takes at least {FEWEST}.",)
    if set(trained) <= set(found.equal):
        return ("Nothing changed: every policy gives the base's own answers, word for word.",)
    metric = _headline(found)
    if metric is None:
        return (f"No verdict: {_why_none(found)}.",)
    order = sorted(trained, key=lambda policy: _rank(found, policy, metric), reverse=True)
    return tuple(sentence(found, policy, metric) for policy in order)


def _too_few(found: Evidence) -> int:
    """How many questions there are, where these are too few; else 0."""
    counts = [figure.n for own in found.figures.values() for figure in own.values()]
    return max(counts) if counts and max(counts) < FEWEST else 0


def _headline(found: Evidence) -> str | None:
    """The measure that the verdict is on: rules first."""
    known = [metric for own in found.figures.values() for metric in own]
    probes = [m for m in names.ordered(known) if m.startswith("probe:")]
    wanted = [*HEADLINES[:2], *probes, "win_rate:base", "reward"]
    return next((m for m in wanted if m in known and found.counts(m)), None)


def _why_none(found: Evidence) -> str:
    reason = "no rule that a program checks and no probe was measured"
    has_reward = any("reward" in own for own in found.figures.values())
    return f"{reason}, and {found.reward_model.said}" if has_reward else reason


def _rank(found: Evidence, policy: str, metric: str) -> tuple[bool, int, float]:
    gates = [gate.is_passed for gate in found.gates if gate.policy == policy]
    figure = found.figure(policy, metric)
    value = figure.value if figure else float("-inf")
    return bool(gates) and all(gates), found.verdict_of(policy, metric), value


def sentence(found: Evidence, policy: str, metric: str) -> str:
    """What is known of one policy."""
    name, own, base = titled(policy), found.figure(policy, metric), found.figure(BASE, metric)
    if policy in found.equal:
        return f"{name} gives the base's own answers, word for word."
    if own is None:
        return f"{name}: {names.in_words(metric)} was not measured."
    told = f"{name} {_told(metric, own, base)}{_how_sure(found, policy, metric)}"
    return f"{told}{_gated(found, policy)}{_losses(found, policy, metric)}."


def _told(metric: str, own: Figure, base: Figure | None) -> str:
    where = ""
    if metric == "rules":
        where = f" where the base keeps {base.value:.2f}" if base else ""
        return f"keeps {own.value:.2f} of the rules{where}"
    if names.kind(metric).startswith("win_rate"):
        return f"wins {own.value:.2f} of its comparisons with the base"
    where = f" where the base has {number(metric, base.value)}" if base else ""
    return f"has {names.in_words(metric)} {number(metric, own.value)}{where}"


def _how_sure(found: Evidence, policy: str, metric: str) -> str:
    gap = found.difference(policy, metric)
    if gap is None:
        return " (how sure that is was not measured)"
    if not gap.can_tell:
        return f" (too few questions to tell: {gap.n})"
    ends = " to ".join(_rounded(end or 0.0, 2) for end in (gap.low, gap.high))
    said = f" ({_rounded(gap.value, 2, '+')}, {ends})"
    return said if gap.side() else f"{said}: not clearly different"


def _losses(found: Evidence, policy: str, metric: str) -> str:
    parts = list(_lost(found, policy, metric))
    shorter = _length(found, policy)
    said = [*parts[:MANY], *([f"{len(parts) - MANY} more"] if len(parts) > MANY else [])]
    worse = f"; worse in {', '.join(said)}" if said else ""
    return f"{worse}; its answers are {shorter}" if shorter else worse


def _lost(found: Evidence, policy: str, headline: str) -> Iterator[str]:
    failed = [names.plain(g.metric) for g in found.gates if g.policy == policy and not g.is_passed]
    for metric in names.ordered(found.figures.get(policy, {})):
        is_told = names.kind(metric) not in ONLY_TOLD and metric not in (headline, *failed)
        if is_told and found.verdict_of(policy, metric) < 0:
            gap = found.difference(policy, metric)
            assert gap
            yield f"{names.in_words(metric)} ({change(metric, gap)})"


def _length(found: Evidence, policy: str) -> str:
    own, base = found.figure(policy, "tokens"), found.figure(BASE, "tokens")
    gap = found.difference(policy, "tokens")
    if not (own and base and gap and base.value and gap.side()):
        return ""
    share = own.value / base.value - 1
    word = "shorter" if share < 0 else "longer"
    return f"{abs(share):.0%} {word}" if abs(share) >= MUCH_SHORTER else ""


def _gated(found: Evidence, policy: str) -> str:
    gates = [gate for gate in found.gates if gate.policy == policy]
    failed = [gate for gate in gates if not gate.is_passed]
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f", but fails its gate ({failed[0].reason.rstrip('.')}{more})"
    return " and passes every gate" if gates else ""


def number(metric: str, value: float) -> str:
    return _rounded(value, names.digits(metric))


def _rounded(value: float, digits: int, sign: str = "") -> str:
    """Without the sign of a zero."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def change(metric: str, gap: Figure) -> str:
    """A difference as people read it: `+0.22`, or `x1.04` of a ratio."""
    if metric == "perplexity":
        return f"x{gap.value:.2f}"
    return _rounded(gap.value, names.digits(metric), "+")


def reward_trust(found: Mapping[str, Figure] | None, has_changed: bool) -> Trust:
    """Of a reward model, by what was measured of its checkpoint; None: there is none."""
    name, vain = "the reward model", "its scores are no evidence"
    if found is None:
        return Trust(False, "there is no reward model")
    if not has_changed:
        return Trust(False, f"{name}'s training changed no weight: {vain}")
    right, pairs = found.get("eval_accuracy"), found.get("held_out")
    if right is None or not pairs or not pairs.value:
        return Trust(False, f"{name} was not tested on held-out pairs: {vain}")
    n = int(pairs.value)
    low, high = wilson(right.value * n, n)
    return _trust(name, Figure(right.value, low, high, n), vain)


def judge_trust(card: Mapping[str, Figure]) -> Trust:
    """Of a judge, by its report card."""
    name, vain = "the judge", "its win rates are no evidence"
    if "accuracy" not in card:
        return Trust(
            False, f"{name} was not tested on pairs whose better response is known: {vain}"
        )
    return _trust(name, card["accuracy"], vain)


def _trust(name: str, right: Figure, vain: str) -> Trust:
    ends = "" if right.low is None else f", {right.low:.2f} to {right.high:.2f}"
    said = f"{name} is right on {right.value:.2f} of {right.n} held-out pairs{ends}"
    if right.n < FEWEST:
        return Trust(False, f"{said}: too few to say more, so {vain}", right)
    if right.side(0.5) <= 0:
        word = "worse than chance" if right.side(0.5) else "no better than chance"
        return Trust(False, f"{said}: {word}, so {vain}", right)
    return Trust(True, said, right)


def cautions(found: Evidence, stages: Iterable[Stage], like_sft: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know before believing a figure."""
    return tuple(_cautions(found, stages, like_sft))


def _cautions(found: Evidence, stages: Iterable[Stage], like_sft: Sequence[str]) -> Iterator[str]:
    if found.reward_model.accuracy or any("reward" in own for own in found.figures.values()):
        yield _sentence(found.reward_model.said)
    if any(m.startswith("win_rate") for own in found.figures.values() for m in own):
        yield _sentence(found.judge.said)
    for stage in stages:
        if not stage.has_changed:
            yield f"{stage.stage}: its training changed no weight."
    for policy in like_sft:
        yield f"{titled(policy)} gives SFT's own answers, word for word."
    if any("_minus_base" in metric for own in found.figures.values() for metric in own):
        yield (
            "Every interval stands for itself: of twenty measures that did not change, one is"
            " expected to look as if it had."
        )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def titled(policy: str) -> str:
    """A policy's name as a sentence begins with it."""
    return "The champion" if policy == "champion" else policy.upper()
