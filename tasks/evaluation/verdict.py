"""What an evaluation comes to, in one sentence: what got better, or why a model is not promoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.evaluation.figures import Figures, Other
from tasks.evaluation.gate_words import called, interval, number, spoken
from tasks.evaluation.gates import ANSWERED, WEIGHTS, Verdict, is_passed
from tasks.evaluation.rows import BASE, HELD_OUT, PARENTS

UNANSWERED = "leaves questions unanswered"
ABSOLUTE = {
    "overused": "says overused phrases in {} of its answers",
    "kl": "strays {} nats an answer from SFT",
    "kl_per_token": "strays {} nats a token from SFT",
}
BESIDE = {
    "rules": "keeps {own} of the rules where {whom} keeps {theirs}",
    "eos_rate": "ends {own} of its answers by itself where {whom} ends {theirs}",
    "refusal_rate": "refuses {own} of the held-out prompts where {whom} refuses {theirs}",
    "repetition": "repeats itself ({own} where {whom} has {theirs})",
    "reward": "is rewarded less than {whom}",
    "win_rate": "loses to {whom} by the judge's word",
    "win_rate_by_length": "loses to {whom} by the judge's word at equal length",
    "probe:helpfulness": UNANSWERED,
    "probe:over-refusal": "answers fewer harmless requests that look harmful",
    "probe": "does worse than {whom} at {name}",
    "rule": "keeps {name} less often than {whom}",
}
SHOWN = 2  # faults named in the sentence; of others their number
# What a sentence names first: what says most of what became of a model.
FIRST = (
    WEIGHTS,
    ANSWERED,
    "refusal_rate",
    "eos_rate",
    "repetition",
    "tokens",
    "probe:helpfulness",
    "probe:over-refusal",
    "overused",
    "perplexity",
    "rules",
)


def verdict_sentence(figures: Figures, verdicts: Sequence[Verdict], policy: str) -> str:
    """The verdict on a policy: `DPO keeps 0.71 of the rules where the base keeps 0.49 (+0.22, 0.17
    to 0.27) and passes every gate.`, or `SFT shortens answers by 37 % and leaves questions
    unanswered: not promoted.`
    """
    own = [verdict for verdict in verdicts if verdict.policy == policy]
    name = policy.upper()
    if not own:
        return f"{name} was not judged."
    if is_passed(own, policy):
        return f"{name} {_gain(figures, policy)} passes every gate."
    missed = {v.metric: v for v in reversed(own) if not v.is_passed}  # the first of each metric
    ranked = sorted(missed.values(), key=_rank)
    faults = list(dict.fromkeys(text for verdict in ranked for text in _faults(figures, verdict)))
    more = len(faults) - SHOWN
    told = faults[:SHOWN] + (
        [f"misses {more} other gate{'s' if more > 1 else ''}"] if more > 0 else []
    )
    return f"{name} {_listed(told)}: not promoted."


def equal_sentences(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A sentence on every policy whose held-out answers are its parent's, letter for letter:
    `PPO answers as SFT does: 36 of 36 answers equal.` `rows`: see rows.py.
    """
    texts: dict[str, dict[tuple[str, int], str]] = {}
    for row in rows:
        if row["probe"] == HELD_OUT and row["finish_reason"] != "too_long":
            own = texts.setdefault(row["policy"], {})
            own[row["question_id"], row["sample"]] = row["text"]
    said = {}
    for policy, parent in PARENTS.items():
        if policy in texts and texts[policy] == texts.get(parent):
            of, n = "the base" if parent == BASE else parent.upper(), len(texts[policy])
            said[policy] = f"{policy.upper()} answers as {of} does: {n} of {n} answers equal."
    return said


def _rank(verdict: Verdict) -> int:
    return FIRST.index(verdict.metric) if verdict.metric in FIRST else len(FIRST)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def _gain(figures: Figures, policy: str) -> str:
    """How it compares with the base by what says best whether it follows its constitution."""
    own, base = figures.of(policy, "rules"), figures.of("base", "rules")
    apart = figures.difference(policy, "rules", "base")
    if own and base and apart and apart.low is not None and apart.high is not None:
        sign = "+" if apart.value >= 0 else ""
        gap = f"{sign}{number(apart.value)}, {number(apart.low)} to {number(apart.high)}"
        is_clear = apart.low > 0 or apart.high < 0
        doubt = "" if is_clear else ", which is no clear difference,"
        return (
            f"keeps {number(own.value)} of the rules where the base keeps {number(base.value)}"
            f" ({gap}){doubt} and"
        )
    won = figures.of(policy, "win_rate:base")
    if won:
        return (
            f"wins {number(won.value)} of the judge's comparisons with the base{interval(won)} and"
        )
    return "was measured by no program and no judge on its rules and"


def _faults(figures: Figures, verdict: Verdict) -> list[str]:
    """What is wrong with a policy, as the rest of a sentence about it."""
    metric, rule, name = verdict.metric, verdict.rule, spoken(verdict.metric).rstrip(",")
    if metric == WEIGHTS:
        return [f"did not learn ({verdict.reason})"]
    if metric == ANSWERED:
        return ["answered too few held-out prompts for a verdict"]
    if verdict.value is None:
        return [f"cannot be judged by its {name}"]
    if "max_ratio" in rule or "min_ratio" in rule:
        return _ratio_faults(figures, verdict)
    if metric in ABSOLUTE:
        return [ABSOLUTE[metric].format(number(verdict.value))]
    for bound, words in (("min", "at least"), ("max", "at most")):
        if bound in rule:
            asked = f"where {words} {rule[bound]:g} is asked"
            return [f"has {number(verdict.value)} in {name} {asked}"]
    return [_fault_beside(figures, verdict, rule.get("no_worse_than") or rule["to"])]


def _fault_beside(figures: Figures, verdict: Verdict, other: Other) -> str:
    metric, policy = verdict.metric, verdict.policy
    own, theirs = (figures.of(p, metric) for p in (policy, figures.named(policy, other)))
    form = BESIDE.get(metric) or BESIDE.get(metric.split(":")[0], "is worse than {whom} in {name}")
    return form.format(
        own=number(own.value) if own else "fewer",
        theirs=number(theirs.value) if theirs else "more",
        whom=called(figures, policy, other).partition(" (")[0],
        name=metric.partition(":")[2] or spoken(metric),
    )


def _ratio_faults(figures: Figures, verdict: Verdict) -> list[str]:
    percent = f"{abs((verdict.value or 0.0) - 1):.0%}".replace("%", " %")
    if verdict.metric == "perplexity":
        return [f"reads ordinary text {percent} worse"]
    if verdict.metric != "tokens":
        return [f"moves its {spoken(verdict.metric)} by {percent}"]
    if "max_ratio" in verdict.rule:
        return [f"lengthens answers by {percent}"]
    shorter, excuse = f"shortens answers by {percent}", verdict.rule.get("excused_by")
    if excuse is None:
        return [shorter]
    if figures.difference(verdict.policy, excuse, verdict.rule["to"]) is None:
        return [f"{shorter} (nothing measured shows that questions are still answered)"]
    return [shorter, UNANSWERED if excuse == "probe:helpfulness" else f"loses {spoken(excuse)}"]
