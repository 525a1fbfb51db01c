"""From the ledger's rows to a report. The ledger alone: any old snapshot has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from flows.explain.data_report import read
from flows.explain.data_report.hygiene import checks
from flows.explain.data_report.report import DataReport, DataRow, PrincipleFacts, Verdict
from storage.ledger import Ledger
from tasks.generation.teaching import AUTHORITY, NONE, Lesson, Teaching

SHOWN = 5  # rows with their texts
PRESUMING = ("revision", "distilled")  # sources that say which side should be better


def build(ledger: Ledger, name: str, tell: Callable[[str], None] = lambda step: None) -> DataReport:
    """The report on a snapshot of pairs or examples: an id, its start or a ref.

    `tell` hears what is being done. Raises InputError for anything that has no report.
    """
    snapshot = read.snapshot_named(ledger, name)
    dataset_id, run_id, kind = (snapshot[key] for key in ("dataset_id", "run_id", "kind"))
    tell("reading rows")
    everything = read.rows_of(ledger, snapshot)
    rows = tuple(row for row in everything if not row.is_held_out)
    teaching, facts = None, ()
    examples = dict(Counter(row.source for row in rows))
    if kind == "preferences":
        under = _about(rows, read.made_under(ledger, dataset_id))
        facts = tuple(_facts(slug, own) for slug, own in sorted(under.items()))
        teaching = _teaching(rows, under, read.lessons(ledger, dataset_id))
        examples = read.examples_by_source(ledger, run_id)
    return DataReport(
        id=dataset_id,
        kind=kind,
        run_id=run_id,
        training=len(rows),
        held_out=len(everything) - len(rows),
        teaching=teaching,
        examples_by_source=examples,
        principles=facts,
        left_out=tuple(read.left_out(ledger, run_id)),
        hygiene=checks(rows, [row for row in everything if row.is_held_out], tell),
        shown=rows[:SHOWN],
        rows=rows,
    )


def _about(rows: Iterable[DataRow], under: Mapping[str, set[str]]) -> dict[str, list[DataRow]]:
    """The pairs about each principle: made under it, or with a label on it."""
    found: dict[str, list[DataRow]] = {}
    for row in rows:
        labelled = {label.slug for label in row.labels if label.slug}
        for slug in labelled | under.get(row.id, set()):
            found.setdefault(slug, []).append(row)
    return found


def strongest(labels: Iterable[Verdict]) -> str:
    """Who of those that gave a label outranks the others; "none" without any."""
    said = {label.by for label in labels}
    return next((by for by in AUTHORITY if by in said), NONE)


def _on(slug: str, row: DataRow) -> list[Verdict]:
    return [label for label in row.labels if label.slug == slug]


def _facts(slug: str, rows: Sequence[DataRow]) -> PrincipleFacts:
    by = Counter(strongest(_on(slug, row)) for row in rows)
    presumed = [row for row in rows if _on(slug, row) and row.source in PRESUMING]
    agreed = sum(not is_turned(row) for row in presumed)
    given = [label.preference for row in rows for label in _on(slug, row)]
    return PrincipleFacts(
        slug,
        dict(by),
        agreed / len(presumed) if presumed else None,
        sum(given) / len(given) if given else None,
    )


def is_turned(row: DataRow) -> bool:
    return any(label.is_turned for label in row.labels)


def _teaching(
    rows: Sequence[DataRow], under: Mapping[str, list[DataRow]], known: Mapping[str, Lesson]
) -> Teaching:
    """What a run said of these pairs, counted anew. How many prompts met a principle, and all of
    whose answers kept or broke it, is in no row: that is as the run kept it, or at least the pairs.
    """
    lessons = {
        slug: Lesson(
            prompts=len(under.get(slug, ())),
            pairs=len(under.get(slug, ())),
            with_evidence=sum(bool(_on(slug, row)) for row in under.get(slug, ())),
            agreed=sum(bool(_on(slug, row)) and not is_turned(row) for row in under.get(slug, ())),
        )
        for slug in sorted(under.keys() | known.keys())
    }
    for slug, lesson in known.items():
        own = lessons[slug]
        own.prompts, own.pairs = lesson.prompts, lesson.pairs
        own.all_keep, own.all_break = lesson.all_keep, lesson.all_break
    return Teaching(
        by_source=Counter(row.source for row in rows),
        by_evidence=Counter(strongest(row.labels) for row in rows),
        turned=sum(map(is_turned, rows)),
        lessons=lessons,
    )
