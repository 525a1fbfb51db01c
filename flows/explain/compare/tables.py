"""A report as short sentences and table cells: what terminal, Markdown and page have in common.

Nothing here is escaped: each output does that in its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from flows.explain.compare.report import (
    EFFECTS,
    CheckpointDiff,
    ConstitutionDiff,
    Effect,
    FieldChange,
    Measure,
    Report,
    SnapshotDiff,
    TextChange,
    as_text,
)

T = TypeVar("T")
NONE = "–"
BRIEF_EFFECT: dict[Effect, str] = {
    "every_row": "regenerates every row",
    "rows": "regenerates its rows",
    "assignment": "moves assignment",
    "judging": "judged anew",
    "none": "costs nothing",
}
USE_COLUMNS = ("principle", "rows", "no change", "edit", "words", "chars", "sampled")
METRIC_COLUMNS = ("measure", "A", "B")
COMPONENT_COLUMNS = ("component", "A", "B")


def headline(report: Report) -> Iterator[str]:
    """A sentence for each thing compared."""
    if report.same:
        yield f"no difference: both are {report.a.id}"
    if report.checkpoint:
        count = len(report.checkpoint.components)
        yield f"{number(count, 'component')} of the key {'differs' if count == 1 else 'differ'}"
    if report.constitution:
        yield constitution_line(report.constitution)
    for snapshot in report.snapshots:
        yield snapshot_line(snapshot)


def constitution_line(found: ConstitutionDiff) -> str:
    counts = Counter(p.change for p in found.principles)
    kinds = [f"{counts[kind]} {kind}" for kind in ("changed", "added", "removed") if counts[kind]]
    line = "principles: " + (", ".join(kinds) or "all the same")
    others = ", ".join(dict.fromkeys(change.field.split(",")[0] for change in found.fields))
    return f"{line}; also changed: {others}" if others else line


def snapshot_line(found: SnapshotDiff) -> str:
    states = ("changed", "appeared", "vanished")
    line = f"{found.rows} rows: " + ", ".join(f"{getattr(found, s)} {s}" for s in states)
    line += f", {found.same} the same (counted by prompt)"
    if found.flips is not None:
        line += f"; {number(found.flips, 'flip')} of chosen and rejected"
    if found.moved_split:
        line += f"; {found.moved_split} moved between training and held out"
    return line


def effects(found: ConstitutionDiff) -> Iterator[str]:
    """What every effect that occurs means, worst first."""
    present = {p.effect for p in found.principles} | {f.effect for f in found.fields}
    present |= {field.effect for p in found.principles for field in p.fields}
    for effect, meaning in EFFECTS.items():
        if effect in present:
            yield f"{BRIEF_EFFECT[effect]}: {meaning}"


def field_name(change: FieldChange, effect_is_known: bool) -> str:
    """The field and what its change means, unless a reader has been told for the whole."""
    if effect_is_known:
        return change.field
    return f"{change.field} ({BRIEF_EFFECT[change.effect]})"


def use_rows(found: SnapshotDiff) -> Iterator[list[str]]:
    """A row a principle, cells as `before → after`, in the order of USE_COLUMNS."""
    for use in found.principles:
        a, b = use.a, use.b
        yield [
            use.slug,
            _arrow(a, b, lambda u: str(u.rows)),
            _arrow(a, b, lambda u: _rate(u.no_change_rate)),
            _arrow(a, b, lambda u: _decimal(u.edit_distance, 2)),
            _arrow(a, b, lambda u: _decimal(u.words, 1)),
            _arrow(a, b, lambda u: _decimal(u.characters, 0)),
            _arrow(a, b, lambda u: str(u.sampled)),
        ]


def use_caption(found: SnapshotDiff) -> str:
    """What the columns mean, and how many rows the edits were measured on."""
    sizes = [u.sampled for p in found.principles for u in (p.a, p.b) if u is not None and u.rows]
    low, high = (min(sizes), max(sizes)) if sizes else (0, 0)
    sampled = str(low) if low == high else f"{low} to {high}"
    before = "draft" if found.rows == "preferences" else "response"
    return (
        f"no change: revisions that said the same as the {before}; edit: mean Levenshtein distance"
        f" from {before} to revision, 0 to 1, over the first {sampled} rows of a principle by id;"
        " words, chars: mean length of the better response"
    )


def metric_rows(found: CheckpointDiff) -> Iterator[list[str]]:
    for row in found.metrics:
        yield [row.name, _measure(row.a), _measure(row.b)]


def component_rows(found: CheckpointDiff) -> Iterator[list[str]]:
    for row in found.components:
        yield [row.component, as_text(row.before) or NONE, as_text(row.after) or NONE]


def text_parts(change: TextChange) -> Iterator[tuple[str, str | None, str | None]]:
    """(which text, in A, in B) of every text of a row that differs; None where a side lacks it."""
    is_pair = any(row is not None and row.rejected is not None for row in (change.a, change.b))
    a, b = change.a, change.b
    responses = a.response if a else None, b.response if b else None
    if responses[0] != responses[1]:
        yield "chosen" if is_pair else "response", *responses
    rejected = a.rejected if a else None, b.rejected if b else None
    if rejected[0] != rejected[1]:
        yield "rejected", *rejected


def principles_of(change: TextChange) -> str:
    """Under which principles the row was made, `before → after` where they differ."""
    return _arrow(change.a, change.b, lambda row: row.principle or "no principle")


def left_out_line(found: SnapshotDiff) -> str:
    total = len(found.texts) + found.left_out
    line = f"{len(found.texts)} of {number(total, 'changed row')} shown, largest edits first"
    return line if found.ranked == total else f"{line} (of the first {found.ranked} by id)"


def number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _arrow(a: T | None, b: T | None, shown: Callable[[T], str]) -> str:
    left, right = (NONE if side is None else shown(side) for side in (a, b))
    return left if left == right else f"{left} → {right}"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def _decimal(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _measure(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return NONE
    shown = f"{measure.value:.4g}"
    if measure.low is not None and measure.high is not None:
        shown += f" ({measure.low:.4g} to {measure.high:.4g})"
    return shown
