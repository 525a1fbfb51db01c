"""Write what a run makes into the ledger: revisions, examples, pairs, labels and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage.ids import content_id, kind_of
from storage.ledger import Columns, Ledger, fill, insert, insert_columns, now
from tasks.generation.assemble import Example, Pair, Step
from tasks.generation.calls import Answer
from tasks.generation.labels import Label
from tasks.generation.snapshots import Snapshot, WindowRows
from tasks.generation.teaching import Teaching

# Of a revision that is there: what it gives only now, and what older code did not keep.
FILLED = ("example_id", "pair_id", "response_cut_at", "critique_cut_at", "revision_cut_at")
THERE = "SELECT pair_id FROM pairs WHERE pair_id IN (SELECT unnest($1::VARCHAR[]))"
SHOWN = """
    SELECT few_shot_id FROM shown_principles
    WHERE few_shot_id IN (SELECT unnest($1::VARCHAR[]))"""
# The id of the principle's words that a label is about, and the check a program held it to.
Labelled = Callable[[Label], tuple[str | None, str | None]]


def record_rows(
    ledger: Ledger, run_id: str, steps: Sequence[Step], rows: WindowRows, labelled: Labelled
) -> int:
    """Keep revisions, examples, pairs and their labels; returns how many of the pairs are new.

    A revision that is there learns which rows it gives now and forgets none that it gave before:
    earlier snapshots keep their lineage.
    """
    with ledger.transaction() as con:
        if steps:
            revisions = _revision_columns(steps, run_id, rows)
            if insert_columns(con, "revisions", revisions) < len(steps):
                fill(con, "revisions", "revision_id", FILLED, revisions)
        if rows.examples:
            insert_columns(con, "examples", _example_columns(rows.examples))
        if labels := _label_rows(rows.pairs, run_id, labelled):
            found = con.execute(THERE, [[label["pair_id"] for label in labels]]).fetchall()
            there = {pair_id for (pair_id,) in found}
            insert(con, "labels", [one | {"is_later": one["pair_id"] in there} for one in labels])
        return insert_columns(con, "pairs", _pair_columns(rows.pairs)) if rows.pairs else 0


def _label_rows(pairs: Sequence[Pair], run_id: str, labelled: Labelled) -> list[dict[str, Any]]:
    at = now()
    rows = []
    for pair in pairs:
        for label in pair.labels:
            principle, check = labelled(label)
            named = [pair.pair_id, label.by, principle, check, label.comparison_id]
            named += [label.verdict_id] if label.verdict_id else []
            rows.append(
                {
                    "label_id": content_id("label", named),
                    "pair_id": pair.pair_id,
                    "principle_id": principle,
                    "comparison_id": label.comparison_id,
                    "verdict_id": label.verdict_id,
                    "run_id": run_id,
                    "given_by": label.by,
                    "rule": check,
                    "preference": label.preference,
                    "is_turned": pair.is_turned,
                    "created_at": at,
                }
            )
    return rows


def _revision_columns(steps: Sequence[Step], run_id: str, rows: WindowRows) -> Columns:
    examples = {example.revision_id: example.example_id for example in rows.examples}
    pairs = {pair.revision_id: pair.pair_id for pair in rows.pairs}
    return {
        "revision_id": [step.revision_id for step in steps],
        "prompt_id": [step.turn.prompt_id for step in steps],
        "principle_id": [step.principle_id for step in steps],
        "response_completion_id": [step.turn.answer.completion_id for step in steps],
        "critique_completion_id": [step.critique.completion_id for step in steps],
        "revision_completion_id": [step.revision.completion_id for step in steps],
        "response_cut_at": [step.turn.answer.cut_at for step in steps],
        "critique_cut_at": [step.critique.cut_at for step in steps],
        "revision_cut_at": [step.revision.cut_at for step in steps],
        "example_id": [examples.get(step.revision_id) for step in steps],
        "pair_id": [pairs.get(step.revision_id) for step in steps],
        "run_id": [run_id] * len(steps),
        "round": [step.round for step in steps],
        "created_at": [now()] * len(steps),
    }


def _example_columns(examples: Sequence[Example]) -> Columns:
    return {
        "example_id": [example.example_id for example in examples],
        "prompt_id": [example.prompt_id for example in examples],
        "completion_id": [example.completion_id or None for example in examples],
        "cut_at": [example.cut_at for example in examples],
        "revision_id": [example.revision_id for example in examples],
        "response": [example.response for example in examples],
        "source": [example.source for example in examples],
        "created_at": [now()] * len(examples),
    }


def _pair_columns(pairs: Sequence[Pair]) -> Columns:
    return {
        "pair_id": [pair.pair_id for pair in pairs],
        "prompt_id": [pair.prompt_id for pair in pairs],
        "chosen_completion_id": [_call_of(pair.chosen) for pair in pairs],
        "rejected_completion_id": [_call_of(pair.rejected) for pair in pairs],
        "chosen_cut_at": [_cut_at(pair.chosen) for pair in pairs],
        "rejected_cut_at": [_cut_at(pair.rejected) for pair in pairs],
        "chosen": [pair.chosen.text for pair in pairs],
        "rejected": [pair.rejected.text for pair in pairs],
        "revision_id": [pair.revision_id for pair in pairs],
        "source": [pair.source for pair in pairs],
        "preference": [pair.preference for pair in pairs],
        "created_at": [now()] * len(pairs),
    }


def _call_of(answer: Answer) -> str | None:
    """The completion that an answer is; None for a text that people brought."""
    return answer.completion_id if kind_of(answer.completion_id) == "completion" else None


def _cut_at(answer: Answer) -> int | None:
    """Which of its completion's texts an answer is; None for a text that people brought."""
    return answer.cut_at if _call_of(answer) else None


def record_snapshot(ledger: Ledger, run_id: str, snapshot: Snapshot) -> str:
    """Keep a snapshot and its members; returns its id. A snapshot that is there stays as it is."""
    found = snapshot.dataset_id
    row = {
        "dataset_id": found,
        "run_id": run_id,
        "kind": snapshot.kind,
        "row_count": len(snapshot.training),
        "held_out_count": len(snapshot.held_out),
        "created_at": now(),
    }
    sides = [False] * len(snapshot.training) + [True] * len(snapshot.held_out)
    members: Columns = {
        "dataset_id": [found] * len(sides),
        "row_id": [*snapshot.training, *snapshot.held_out],
        "is_held_out": sides,
    }
    with ledger.transaction() as con:
        if insert(con, "datasets", [row]) and sides:
            insert_columns(con, "dataset_rows", members)
    return found


def record_shown(ledger: Ledger, shown: Mapping[str, Sequence[str]]) -> None:
    """Keep which principles a teacher's prefixes show: principles' ids by the prefix's id.

    Of a prefix that is there they stay: other words that come to it later made none of its answers.
    """
    if not shown:
        return
    with ledger.transaction() as con:
        there = {name for (name,) in con.execute(SHOWN, [list(shown)]).fetchall()}
        rows = [
            {"few_shot_id": prefix, "principle_id": principle}
            for prefix, principles in shown.items()
            if prefix not in there
            for principle in principles
        ]
        insert(con, "shown_principles", rows)


def record_teaching(ledger: Ledger, dataset_id: str, teaching: Teaching) -> None:
    """Keep, as the metrics of a snapshot, how many of its pairs have evidence, and of which kind;
    and the lesson of each principle. Those of a principle that is gone go with it.
    """
    values = {f"evidence/{by}": count for by, count in teaching.by_evidence.items()}
    values |= {f"source/{source}": count for source, count in teaching.by_source.items()}
    values |= {"pairs": teaching.pairs, "turned": teaching.turned}
    for slug, lesson in teaching.lessons.items():
        values |= {f"lesson/{slug}/{name}": count for name, count in vars(lesson).items()}
    rows = [
        {"subject_id": dataset_id, "name": name, "step": -1, "value": float(value)}
        for name, value in values.items()
    ]
    with ledger.transaction() as con:
        con.execute("DELETE FROM metrics WHERE subject_id = ?", [dataset_id])
        insert(con, "metrics", rows)
