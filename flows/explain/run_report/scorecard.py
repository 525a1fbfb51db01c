"""The scorecard: a row a measure, a column a policy; marked where it clearly left the base."""

from __future__ import annotations

from flows.explain.document.parts import Cell, Mark, Section
from flows.explain.run_report import names
from flows.explain.run_report.evidence import Evidence
from flows.explain.run_report.facts import Figure
from flows.explain.run_report.names import change, number
from tasks.evaluation.rows import BASE

NOT_KNOWN = "–"
PARTS = ("rule",)  # measures that are parts of the one above them


def scorecard(found: Evidence) -> Section:
    """Means over questions, with 95 % intervals."""
    metrics = names.ordered(metric for own in found.figures.values() for metric in own)
    rows = [
        (_name(found, metric), *(_cell(found, policy, metric) for policy in found.policies))
        for metric in metrics
    ]
    lines = [
        "Means over questions, with 95 % intervals. better, worse, longer and so on: the"
        " difference to the base, question by question, leaves out 0. No word: not clearly"
        " different, or not compared."
    ]
    columns = ("measure", *found.policies)
    return Section("Scorecard", lines, columns=columns, rows=rows, narrow=len(columns))


def _name(found: Evidence, metric: str) -> Cell:
    counts = {own[metric].n for own in found.figures.values() if metric in own}
    n = f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"
    if not found.counts(metric):
        n += "; no evidence"
    part = "· " if names.kind(metric) in PARTS else ""
    return Cell(f"{part}{names.in_words(metric)}", n)


def _cell(found: Evidence, policy: str, metric: str) -> Cell:
    figure = found.figure(policy, metric)
    if figure is None:
        return Cell(NOT_KNOWN)
    spread = _spread(metric, figure)
    mark, word = _moved(found, policy, metric)
    gap = found.difference(policy, metric)
    change_ = f"{word} {change(metric, gap.value)}" if word and gap else ""
    return Cell(number(metric, figure.value), spread, change_, mark)


def _spread(metric: str, figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(metric, figure.low)} to {number(metric, figure.high)}"


def _moved(found: Evidence, policy: str, metric: str) -> tuple[Mark, str]:
    if policy == BASE:
        return "", ""
    verdict = found.verdict_of(policy, metric)
    if verdict:
        return ("better", "better") if verdict > 0 else ("worse", "worse")
    gap = found.difference(policy, metric)
    if metric in names.MOVED and gap and gap.side():
        return "moved", names.MOVED[metric][gap.side() < 0]
    return "", ""
