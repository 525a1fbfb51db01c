"""Ranges of time and memory as people say them, and what a plan says of the stages it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flows.explain.overview import human
from flows.plan.plan import Plan, Training

TRAINING_COLUMNS = ("training", "rows", "held out", "steps", "time", "memory")
RESTS_ON = {
    "measured": "as measured on this machine",
    "first": "a first guess by the embedded model on two cores: not measured on this machine yet",
    "scaled": "a rough guess by the model's size: not measured on this machine yet",
}
UNKNOWN = "not known"


def span(low_high: Sequence[float]) -> str:
    """A range as `7` or `7 to 9`."""
    low, high = low_high
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def time_span(low: float, high: float) -> str:
    """Seconds, minutes or hours: "40 s", "7.5 to 12 min"."""
    unit, size = next((u, s) for u, s, most in UNITS if high < most)
    first, last = (_number(value / size) for value in (low, high))
    return f"{last} {unit}" if first == last else f"{first} to {last} {unit}"


UNITS = (("s", 1, 120), ("min", 60, 7200), ("h", 3600, float("inf")))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:.0f}"


def memory_span(low: float, high: float) -> str:
    """Bytes: "1.3 GB", "1.1 GB to 2.0 GB"."""
    first, last = human(low), human(high)
    return last if first == last else f"{first} to {last}"


def training_rows(plan: Plan) -> Iterator[Sequence[str]]:
    """A row a stage that is trained."""
    for step in plan.steps.values():
        if step.training and step.to_train[1]:
            yield (step.step, *_cells(step.training))


def _cells(training: Training) -> Iterator[str]:
    yield from map(span, (training.rows, training.held_out, training.steps))
    seconds, memory = training.seconds, training.memory
    yield time_span(seconds.low, seconds.high) if seconds else UNKNOWN
    yield memory_span(*memory) if memory else UNKNOWN


def cost_line(cost: Mapping[str, Any]) -> str:
    """Calls, tokens, time and what it rests on, memory, money."""
    time = "how long is not known: nothing of the kind was measured on this machine yet"
    if cost["seconds"] is not None:
        time = f"{time_span(*cost['seconds'])} ({RESTS_ON[cost['basis']]})"
        if cost["gpu_seconds"][1]:
            time += f", {time_span(*cost['gpu_seconds'])} of it on a GPU"
    memory = f", {memory_span(*cost['memory'])} of memory" if cost["memory"] else ""
    price = f", for about {span(cost['money'])} at the server's price" if cost["money"] else ""
    return (
        f"cost: {span(cost['calls'])} calls, {span(cost['tokens'])} tokens, {time}{memory}{price}"
    )
