"""What can be drawn of an evaluation and of the trainings before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.explain.document.charts import Bar, Line, Point, bars, lines, scatter
from flows.explain.document.parts import Picture
from flows.explain.run_report import names
from flows.explain.run_report.facts import Figure, Stage
from flows.explain.run_report.report import RunReport

SHARE = (0.0, 1.0)
LOSSES = {"loss": "training loss", "eval_loss": "held-out loss"}
SCORES = {"objective/scores": "score of rollouts"}
DISTANCES = {"objective/kl": "KL to SFT"}
INNER = (0.1, 0.9)  # quantiles between which most lengths lie


def of_answers(report: RunReport) -> list[Picture]:
    """What the policies' answers came to."""
    drawn = (_rules, _lengths, _reward_over_kl, _goodhart, _wins, _probes, _by_rule)
    return [picture for draw in drawn for picture in draw(report)]


def of_training(report: RunReport) -> list[Picture]:
    return [picture for stage in report.stages for picture in _curves(stage)]


def of_judge(report: RunReport) -> list[Picture]:
    total = sum(own.n for own in report.reliability)
    if not total:
        return []
    points = [
        Point("", own.confidence, own.accuracy, weight=own.n / total) for own in report.reliability
    ]
    text = (
        "Share of the judge's verdicts that are right, over its confidence; on the line: calibrated"
    )
    axes, ends = ("confidence", "share right"), ((0.48, 1.02), (-0.02, 1.02))
    return [scatter("reliability.svg", text, points, axes, ends, has_diagonal=True)]


def _rules(report: RunReport) -> Iterator[Picture]:
    own = [m for m in _metrics(report) if m == "rules"]
    if own:
        text = "Share of the rules kept on held-out prompts, by stage, with 95 % intervals"
        yield bars("rules.svg", text, _groups(report, own), SHARE)


def _by_rule(report: RunReport) -> Iterator[Picture]:
    own = [m for m in _metrics(report) if names.kind(m) == "rule"]
    if own:
        text = "How often each rule is kept where it applies, with 95 % intervals"
        yield bars("by-rule.svg", text, _groups(report, own), SHARE)


def _probes(report: RunReport) -> Iterator[Picture]:
    own = [m for m in _metrics(report) if names.kind(m) == "probe"]
    if own:
        text = "Mean score of each probe, with 95 % intervals"
        yield bars("probes.svg", text, _groups(report, own), SHARE)


def _wins(report: RunReport) -> Iterator[Picture]:
    own = [m for m in _metrics(report) if names.kind(m).startswith("win_rate")]
    if own:
        trust = "" if report.evidence.judge.is_tested else "; the judge is not known to be right"
        text = f"Share of comparisons won, with 95 % intervals; 0.5: neither is better{trust}"
        yield bars("wins.svg", text, _groups(report, own), SHARE, 0.5)


def _lengths(report: RunReport) -> Iterator[Picture]:
    rows = [
        _bar(policy, "tokens", figure, _inner(report.lengths.get(policy, ())))
        for policy in report.evidence.policies
        if (figure := report.evidence.figure(policy, "tokens"))
    ]
    if rows:
        text = "Tokens of an answer: the mean with its interval, and where 8 of 10 answers lie"
        yield bars("lengths.svg", text, [("", rows)], axis="tokens")


def _reward_over_kl(report: RunReport) -> Iterator[Picture]:
    points = _points(report, "kl", "reward")
    if points:
        doubt = (
            ""
            if report.evidence.reward_model.is_tested
            else "; of a reward model that proved nothing"
        )
        text = f"Mean reward over mean KL to SFT, with 95 % intervals{doubt}"
        yield scatter("reward-kl.svg", text, points, ("KL to SFT, nats an answer", "reward"))


def _goodhart(report: RunReport) -> Iterator[Picture]:
    points = _points(report, "reward", "rules")
    if points:
        text = (
            "Rules kept over reward: where reward rises and rules do not, the reward model is what"
            " was learned"
        )
        yield scatter("goodhart.svg", text, points, ("reward", "rules kept"))


def _curves(stage: Stage) -> Iterator[Picture]:
    for name, wanted in (("loss", LOSSES), ("score", SCORES), ("kl", DISTANCES)):
        found = {
            words: stage.curves[measure]
            for measure, words in wanted.items()
            if measure in stage.curves
        }
        if name == "loss" and stage.stage == "ppo":
            continue  # its surrogate says nothing of what was learned
        if any(len(points) > 1 for points in found.values()):
            drawn = [
                Line(words, points, is_dashed=words == LOSSES["eval_loss"])
                for words, points in found.items()
            ]
            text = f"{stage.stage}: {' and '.join(found)} by step"
            file = f"{stage.stage}-{name}.svg"
            yield lines(file, text, stage.stage, drawn, "step")


def _metrics(report: RunReport) -> list[str]:
    return names.ordered(metric for own in report.evidence.figures.values() for metric in own)


def _groups(report: RunReport, metrics: Sequence[str]) -> list[tuple[str, list[Bar]]]:
    return [
        (
            names.in_words(metric),
            [
                _bar(policy, metric, figure)
                for policy in report.evidence.policies
                if (figure := report.evidence.figure(policy, metric))
            ],
        )
        for metric in metrics
    ]


def _bar(policy: str, metric: str, figure: Figure, wide: tuple[float, float] | None = None) -> Bar:
    shown = names.number(metric, figure.value)
    return Bar(policy, figure.value, figure.low, figure.high, shown, wide)


def _inner(values: Sequence[int]) -> tuple[float, float] | None:
    if not values:
        return None
    own = sorted(values)
    low, high = (own[round(share * (len(own) - 1))] for share in INNER)
    return float(low), float(high)


def _points(report: RunReport, x: str, y: str) -> list[Point]:
    return [
        Point(policy, across.value, up.value, _ends(across), _ends(up))
        for policy in report.evidence.policies
        if (across := report.evidence.figure(policy, x))
        and (up := report.evidence.figure(policy, y))
    ]


def _ends(figure: Figure) -> tuple[float, float] | None:
    if figure.low is None or figure.high is None:
        return None
    return figure.low, figure.high
