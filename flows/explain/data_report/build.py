"""From the ledger's rows to a report. The ledger alone: any old snapshot has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from flows.explain.data_report import read
from flows.explain.data_report.evidence import evidence
from flows.explain.data_report.hygiene import checks
from flows.explain.data_report.report import DataReport, PrincipleFacts
from storage.ledger import Ledger
from tasks.generation.teaching import Teaching

SHOWN = 5  # rows with their texts


def build(ledger: Ledger, name: str, tell: Callable[[str], None] = lambda step: None) -> DataReport:
    """The report on a snapshot of pairs or examples: an id, its start or a ref.

    `tell` hears what is being done. Raises InputError for anything that has no report.
    """
    snapshot = read.snapshot_named(ledger, name)
    dataset_id, run_id, kind = (snapshot[key] for key in ("dataset_id", "run_id", "kind"))
    tell("reading rows")
    everything = read.rows_of(ledger, snapshot)
    rows = tuple(row for row in everything if not row.is_held_out)
    teaching: Teaching | None = None
    facts: tuple[PrincipleFacts, ...] = ()
    examples = dict(Counter(row.source for row in rows))
    if kind == "preferences":
        teaching, facts = evidence(ledger, dataset_id, rows)
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
        judge=tuple(read.judge(ledger, run_id)),
        shown=rows[:SHOWN],
        rows=rows,
    )
