"""A judge's report card as Markdown; its plot is in `card_plot.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.evaluation.escape import markdown_cell
from tasks.judging.card import Card

NAMES = {
    "accuracy": "right, of the pairs it decided",
    "accuracy_all": "right, of all pairs by the mean of both orders (a tie counts half)",
    "decided": "decided, not abstained or even",
    "calibration_error": "expected calibration error",
    "consistency": "both orders name the same response",
    "first_place": "the response shown first is named",
    "unparsed": "sampled verdicts that cannot be read",
    "longer": "the longer response is named",
    "longer_in_gold": "the longer response is the better one",
}
IN_TABLE = ("accuracy", "accuracy_all", "decided", "consistency", "first_place")


def markdown(card: Card) -> str:
    """The card as Markdown: findings, measures, reliability, principles."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Card) -> Iterator[str]:
    counts = "{pairs} gold pairs, {questions} questions, {abstained} pairs abstained from."
    yield counts.format_map(card)
    if card["findings"]:
        yield ""
        yield from (f"- {finding}" for finding in card["findings"])
    yield from ("", "| measure | value | 95 % interval | n |", "|---|---|---|---|")
    for name, meaning in NAMES.items():
        measure = card[name]
        if measure["n"]:
            value = f"{_number(measure['value'])} | {_interval(measure)}"
            yield f"| {meaning} | {value} | {measure['n']} |"
    yield from ("", "| confidence | pairs | mean confidence | right |", "|---|---|---|---|")
    for own in card["reliability"]:
        numbers = f"{_number(own['confidence'])} | {_number(own['accuracy'])}"
        yield f"| {own['low']:.1f} to {own['high']:.1f} | {own['n']} | {numbers} |"
    if len(card["principles"]) > 1:
        yield from _principles(card["principles"])


def _principles(principles: Mapping[str, Card]) -> Iterator[str]:
    yield from ("", f"| principle | pairs | {' | '.join(IN_TABLE)} |")
    yield "|---|---|" + "---|" * len(IN_TABLE)
    for slug, own in principles.items():
        values = " | ".join(_with_interval(own[name]) for name in IN_TABLE)
        yield f"| {markdown_cell(slug)} | {own['pairs']} | {values} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(measure: Mapping[str, Any]) -> str:
    return "" if measure["low"] is None else f"{measure['low']:.3f} to {measure['high']:.3f}"


def _with_interval(measure: Mapping[str, Any]) -> str:
    if measure["value"] is None:
        return ""
    return f"{measure['value']:.2f} ({measure['low']:.2f} to {measure['high']:.2f})"
