"""The evidence behind the pairs of a snapshot, counted from their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flows.explain.data_report import read
from flows.explain.data_report.report import DataRow, PrincipleFacts, Verdict
from storage.ledger import Ledger
from tasks.generation.teaching import NONE, Lesson, Teaching, strongest

PRESUMING = ("revision", "distilled")  # sources that say which side should be better

Rows = Sequence[DataRow]


def evidence(
    ledger: Ledger, dataset_id: str, rows: Rows
) -> tuple[Teaching, tuple[PrincipleFacts, ...]]:
    """What these pairs teach as a whole, and the evidence on each principle by its slug."""
    made = _by_principle(rows, read.made_under(ledger, dataset_id))
    labelled = _by_principle(rows, {row.id: _labelled(row) for row in rows})
    lessons = read.lessons(ledger, dataset_id)
    teaching = _teaching(rows, made, labelled, lessons)
    facts = tuple(
        _facts(slug, lessons.get(slug), made.get(slug, []), labelled.get(slug, []))
        for slug in teaching.lessons
    )
    return teaching, facts


def _by_principle(rows: Rows, slugs: Mapping[str, set[str]]) -> dict[str, list[DataRow]]:
    """The rows of each principle; `slugs`: a row's principles by its id."""
    found: dict[str, list[DataRow]] = {}
    for row in rows:
        for slug in slugs.get(row.id, ()):
            found.setdefault(slug, []).append(row)
    return found


def _labelled(row: DataRow) -> set[str]:
    return {label.slug for label in row.labels if label.slug}


def evidence_of(labels: Iterable[Verdict]) -> str:
    """The kind of evidence that labels are."""
    return strongest(label.by for label in labels)


def _on(slug: str, row: DataRow) -> list[Verdict]:
    return [label for label in row.labels if label.slug == slug]


def _facts(slug: str, lesson: Lesson | None, made: Rows, labelled: Rows) -> PrincipleFacts:
    """`made`: the pairs made under the principle; `labelled`: those with a label on it."""
    by = Counter(evidence_of(_on(slug, row)) for row in labelled)
    by[NONE] = sum(not row.labels for row in made)
    presumed = [row for row in labelled if row.source in PRESUMING]
    agreed = sum(not is_turned(row) for row in presumed)
    given = [label.preference for row in labelled for label in _on(slug, row)]
    return PrincipleFacts(
        slug,
        lesson.prompts if lesson else None,
        dict(+by),
        agreed / len(presumed) if presumed else None,
        sum(given) / len(given) if given else None,
    )


def is_turned(row: DataRow) -> bool:
    return any(label.is_turned for label in row.labels)


def _teaching(
    rows: Rows,
    made: Mapping[str, Rows],
    labelled: Mapping[str, Rows],
    known: Mapping[str, Lesson],
) -> Teaching:
    """What a run said of these pairs, counted anew. How many prompts met a principle, and all of
    whose answers kept or broke it, is in no row: that is as the run kept it, or at least the pairs.
    """
    lessons = {}
    for slug in sorted(made.keys() | labelled.keys() | known.keys()):
        pairs, found = len(made.get(slug, ())), labelled.get(slug, ())
        lesson = replace(known.get(slug) or Lesson(prompts=pairs, pairs=pairs))
        lesson.with_evidence = len(found)
        lesson.agreed = sum(not is_turned(row) for row in found)
        lessons[slug] = lesson
    return Teaching(
        by_source=Counter(row.source for row in rows),
        by_evidence=Counter(evidence_of(row.labels) for row in rows),
        turned=sum(map(is_turned, rows)),
        lessons=lessons,
    )
