"""A comparison in words: the document that terminal, Markdown and page all show. Ids are short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from flows.explain.compare.report import (
    EFFECTS,
    CheckpointDiff,
    ConstitutionDiff,
    FieldChange,
    Measure,
    Report,
    SnapshotDiff,
    TextChange,
    Use,
    as_text,
)
from flows.explain.compare.words import Piece, difference
from flows.explain.document.parts import Document, Entry, Section
from storage.ids import short, shortened

T = TypeVar("T")
NONE = "–"
AUTHOR = "solon diff"


def document(report: Report) -> Document:
    """The whole comparison."""
    return Document(
        name=f"{short(report.a.name)} and {short(report.b.name)}: what differs",
        title=f"Difference of two {report.a.kind}s",
        lines=tuple(headline(report)),
        sections=tuple(sections(report)),
        author=AUTHOR,
        end="Words only in A are struck through, words only in B are underlined.",
    )


def headline(report: Report) -> Iterator[str]:
    """What A and B are, a sentence for each thing compared, and the report's notes."""
    for letter, side in (("A", report.a), ("B", report.b)):
        yield f"{letter}: {short(side.name)} ({side.label}), {short(side.id)}"
    if report.same:
        yield f"no difference: both are {short(report.a.id)}"
    if report.checkpoint:
        count = len(report.checkpoint.components)
        yield f"{number(count, 'component')} of the key {'differs' if count == 1 else 'differ'}"
    if report.constitution:
        yield _constitution_line(report.constitution)
    yield from map(_snapshot_line, report.snapshots)
    yield from map(shortened, report.notes)


def sections(report: Report) -> Iterator[Section]:
    """What there is to show below the headline."""
    if report.checkpoint:
        yield from _checkpoint(report.checkpoint)
    if report.constitution:
        yield _constitution(report.constitution)
    yield from map(_snapshot, report.snapshots)


def _constitution_line(found: ConstitutionDiff) -> str:
    counts = Counter(p.change for p in found.principles)
    kinds = [f"{counts[kind]} {kind}" for kind in ("changed", "added", "removed") if counts[kind]]
    line = f"principles: {', '.join(kinds) or 'all the same'}"
    others = ", ".join(dict.fromkeys(change.field.split(",")[0] for change in found.fields))
    return f"{line}; also changed: {others}" if others else line


def _snapshot_line(found: SnapshotDiff) -> str:
    states = ("changed", "appeared", "vanished")
    line = f"{found.rows} rows: " + ", ".join(f"{getattr(found, s)} {s}" for s in states)
    line += f", {found.same} the same (counted by prompt)"
    if found.flips is not None:
        line += f"; {number(found.flips, 'flip')} of chosen and rejected"
    if found.moved_split:
        line += f"; {found.moved_split} moved between training and held out"
    return line


def _checkpoint(found: CheckpointDiff) -> Iterator[Section]:
    if found.metrics:
        measures = [(row.name, _measure(row.a), _measure(row.b)) for row in found.metrics]
        yield Section("Measures", columns=("measure", "A", "B"), rows=measures)
    components = [
        (row.component, *(shortened(as_text(value)) or NONE for value in (row.before, row.after)))
        for row in found.components
    ]
    yield Section("Key", columns=("component", "A", "B"), rows=components)


def _constitution(found: ConstitutionDiff) -> Section:
    entries = []
    for p in found.principles:
        facts = f"{p.change}, {EFFECTS[p.effect][0]}"
        entries.append(Entry(p.slug, facts, _fields(p.fields, p.change == "changed")))
    if found.fields:
        entries.append(Entry("the whole", "", _fields(found.fields, True)))
    return Section("Constitution", _effects(found), entries=entries)


def _effects(found: ConstitutionDiff) -> list[str]:
    """What every effect that occurs means, worst first."""
    present = {p.effect for p in found.principles} | {f.effect for f in found.fields}
    present |= {field.effect for p in found.principles for field in p.fields}
    return [
        f"{brief}: {meaning}" for effect, (brief, meaning) in EFFECTS.items() if effect in present
    ]


def _fields(fields: Iterable[FieldChange], with_effect: bool) -> list[tuple[str, list[Piece]]]:
    """with_effect: whether each field says what its change means."""
    return [
        (f"{f.field} ({EFFECTS[f.effect][0]})" if with_effect else f.field, f.pieces)
        for f in fields
    ]


def _snapshot(found: SnapshotDiff) -> Section:
    rows = [
        (use.slug, *(_arrow(use.a, use.b, shown) for shown in USE_COLUMNS.values()))
        for use in found.principles
    ]
    lines = [left_out_line(found)] if found.texts or found.left_out else []
    lines += [_columns_note(found)] if rows else []
    columns, entries = ("principle", *USE_COLUMNS), [_row(change) for change in found.texts]
    return Section(
        f"Snapshots of {found.rows} rows", lines, columns=columns, rows=rows, entries=entries
    )


USE_COLUMNS: dict[str, Callable[[Use], str]] = {
    "rows": lambda use: str(use.rows),
    "no change": lambda use: _shown(use.no_change_rate, ".0%"),
    "edit": lambda use: _shown(use.edit_distance, ".2f"),
    "words": lambda use: _shown(use.words, ".1f"),
    "chars": lambda use: _shown(use.characters, ".0f"),
    "sampled": lambda use: str(use.sampled),
}


def _columns_note(found: SnapshotDiff) -> str:
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


def _row(change: TextChange) -> Entry:
    a, b = change.a, change.b
    responses, rejected = (
        [getattr(row, name, None) for row in (a, b)] for name in ("response", "rejected")
    )
    better = "response" if rejected == [None, None] else "chosen"
    texts = [
        (", ".join([name, *_without(found)]), difference(found[0] or "", found[1] or ""))
        for name, found in ((better, responses), ("rejected", rejected))
        if found[0] != found[1]
    ]
    principles = _arrow(a, b, lambda row: row.principle or "no principle")
    facts = f"{principles}, flipped" if change.is_flip else principles
    return Entry(change.prompt or "(empty)", facts, texts)


def _without(texts: Sequence[str | None]) -> Iterator[str]:
    """Which side has no text, and whether it has no such row or an empty one."""
    for letter, text in zip("AB", texts, strict=True):
        if not text:
            yield f"{letter} {'no such row' if text is None else '(empty)'}"


def left_out_line(found: SnapshotDiff) -> str:
    total = len(found.texts) + found.left_out
    line = f"{len(found.texts)} of {number(total, 'changed row')} shown, largest edits first"
    return line if found.ranked == total else f"{line} (of the first {found.ranked} by id)"


def number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _arrow(a: T | None, b: T | None, shown: Callable[[T], str]) -> str:
    """`in A → in B`, once where both are the same."""
    left, right = (NONE if side is None else shown(side) for side in (a, b))
    return left if left == right else f"{left} → {right}"


def _shown(value: float | None, format: str) -> str:
    return NONE if value is None else f"{value:{format}}"


def _measure(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return NONE
    shown = f"{measure.value:.4g}"
    if measure.low is not None and measure.high is not None:
        shown += f" ({measure.low:.4g} to {measure.high:.4g})"
    return shown
