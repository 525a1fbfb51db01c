"""Standard tasks in the report: a row a task and metric, a column a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flows.explain.document.parts import Cell, Section
from flows.explain.run_report.facts import Figure

NOT_KNOWN = "–"
LINE = (
    "By lm-eval, with 95 % intervals; they are of the tasks' own questions, and not compared"
    " question by question. solon standard ID --tasks NAME asks more."
)


def standard_section(found: Mapping[str, Mapping[str, Figure]]) -> Iterator[Section]:
    """Nothing where no policy was asked any."""
    if found:
        names = sorted({name for own in found.values() for name in own})
        rows = [(_name(found, n), *(_cell(own.get(n)) for own in found.values())) for n in names]
        columns = ("task", *found)
        yield Section("Standard tasks", [LINE], columns=columns, rows=rows, narrow=len(columns))


def _name(found: Mapping[str, Mapping[str, Figure]], name: str) -> Cell:
    counts = {own[name].n for own in found.values() if name in own}
    n = f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"
    return Cell(name, n)


def _cell(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(NOT_KNOWN)
    has_ends = figure.low is not None and figure.high is not None
    return Cell(f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}" if has_ends else "")
