"""Figures of standard tasks as people read them; they are kept with the model that was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flows.explain.compare.text import one_line
from storage.ledger import Connection, Ledger, Row, rows
from tasks.standard.figures import PREFIX

NAME_CHARS = 60
OF = """
    SELECT name, value, low, high, sample_count AS n FROM metrics
    WHERE subject_id = ? AND step = -1 AND starts_with(name, ?) ORDER BY name"""


def standard_rows(con: Connection, subject_id: str) -> list[Row]:
    """`[{"name", "value", "low", "high", "n"}]` of a checkpoint or model; name: task/metric."""
    return [
        row | {"name": row["name"].removeprefix(PREFIX)}
        for row in rows(con, OF, [subject_id, PREFIX])
    ]


def standard_of(ledger: Ledger, subjects: Mapping[str, str]) -> dict[str, dict[str, Row]]:
    """By what each subject is called, then by task/metric; those that were asked alone."""
    if not ledger.exists:
        return {}
    with ledger.transaction() as con:
        found = {name: standard_rows(con, subject) for name, subject in subjects.items()}
    return {name: {row["name"]: row for row in own} for name, own in found.items() if own}


def standard_lines(found: list[Row]) -> Iterator[str]:
    """A line a figure, under a title; none without any."""
    if found:
        yield "standard tasks"
    for row in found:
        value = "unknown" if row["value"] is None else f"{row['value']:.3f}"
        spread = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
        yield f"  {one_line(row['name'], NAME_CHARS)}  {value}{spread}, n = {row['n']}"
