"""Write what a run is about into the ledger: constitution, prompts, model, rows and snapshots."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from constitution.schema import Constitution
from storage.ids import canonical_json, content_id, kind_of
from storage.ledger import Columns, Ledger, fill, insert, insert_columns, now
from tasks.generation.assemble import Example, Exclusion, Pair, Step
from tasks.generation.calls import Answer, principle_id
from tasks.generation.labels import Label
from tasks.generation.snapshots import Snapshot, WindowRows
from tasks.generation.teaching import Teaching
from tasks.prompts import Prompt

# The id of the principle's words that a label is about, and the check a program held it to.
Labelled = Callable[[Label], tuple[str | None, str | None]]


def constitution_id(constitution: Constitution) -> str:
    """The id of a constitution's whole content: every field of every principle and example."""
    return content_id("constitution", _body(constitution))


def _body(constitution: Constitution) -> dict[str, Any]:
    """What names a version. Fields that the format got later count only where they are set."""
    body = dataclasses.asdict(constitution)
    answers = [answer for principle in body["principles"] for answer in principle["examples"]]
    for part in (*body["principles"], *answers, *body["examples"]):
        part.pop("line", None)
    if not body["rounds"]:
        del body["rounds"]
    for principle in body["principles"]:
        if principle["check"] is None:
            del principle["check"]
        if not principle["examples"]:
            del principle["examples"]
    return body


def record_constitution(
    ledger: Ledger,
    constitution: Constitution,
    path: str | None,
    commit: str | None = None,
    author: str | None = None,
) -> str:
    """Keep this version of the constitution and of its principles; returns its id.

    `commit`, `author`: of the file in its repository. A version that was first read before it was
    committed gets them later.
    """
    found = constitution_id(constitution)
    row = {
        "constitution_id": found,
        "name": constitution.name,
        "version": constitution.version,
        "path": path,
        "principle_ids": [principle_id(p) for p in constitution.principles],
        "body": canonical_json(_body(constitution)).decode(),
        "git_commit": commit,
        "git_author": author,
        "created_at": now(),
    }
    named = ("slug", "title", "critique", "revision", "comparison")
    principles = [
        {
            "principle_id": principle_id(principle),
            **{name: getattr(principle, name) for name in named},
            "created_at": row["created_at"],
        }
        for principle in constitution.principles
    ]
    with ledger.transaction() as con:
        insert(con, "principles", principles)
        insert(con, "constitutions", [row])
        columns = {name: [value] for name, value in row.items()}
        fill(con, "constitutions", "constitution_id", ["git_commit", "git_author"], columns)
    return found


def record_prompts(ledger: Ledger, prompts: Sequence[Prompt]) -> None:
    columns: Columns = {
        "prompt_id": [p.prompt_id for p in prompts],
        "messages": [json.dumps(list(p.messages), ensure_ascii=False) for p in prompts],
        "category": [p.category for p in prompts],
        "source": [p.source for p in prompts],
        "source_line": [p.line for p in prompts],
        "created_at": [now()] * len(prompts),
    }
    with ledger.transaction() as con:
        insert_columns(con, "prompts", columns)


def record_model(
    ledger: Ledger,
    model_id: str,
    kind: str,
    reference: str,
    base_model_id: str | None = None,
    checkpoint_id: str | None = None,
) -> None:
    row = {
        "model_id": model_id,
        "base_model_id": base_model_id,
        "checkpoint_id": checkpoint_id,
        "kind": kind,
        "reference": reference,
        "created_at": now(),
    }
    with ledger.transaction() as con:
        insert(con, "models", [row])


def record_exclusions(ledger: Ledger, run_id: str, exclusions: Sequence[Exclusion]) -> None:
    columns: Columns = {
        "row_id": [found.row_id for found in exclusions],
        "step": [found.step for found in exclusions],
        "reason": [found.reason for found in exclusions],
        "run_id": [run_id] * len(exclusions),
        "detail": [found.detail for found in exclusions],
        "created_at": [now()] * len(exclusions),
    }
    if exclusions:
        with ledger.transaction() as con:
            insert_columns(con, "exclusions", columns)


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
                fill(con, "revisions", "revision_id", ["example_id", "pair_id"], revisions)
        if rows.examples:
            insert_columns(con, "examples", _example_columns(rows.examples))
        if labels := _label_rows(rows.pairs, run_id, labelled):
            insert(con, "labels", labels)
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
    """Keep which principles a teacher's prefixes show: principles' ids by the prefix's id."""
    rows = [
        {"few_shot_id": prefix, "principle_id": principle}
        for prefix, principles in shown.items()
        for principle in principles
    ]
    if rows:
        with ledger.transaction() as con:
            insert(con, "shown_principles", rows)


def record_teaching(ledger: Ledger, snapshot: Snapshot, teaching: Teaching) -> None:
    """Keep, as metrics of a snapshot, how many of its pairs have evidence, and of which kind; and
    the lesson of each principle."""
    values = {f"evidence/{by}": count for by, count in teaching.by_evidence.items()}
    values |= {f"source/{source}": count for source, count in teaching.by_source.items()}
    values |= {"pairs": teaching.pairs, "turned": teaching.turned}
    for slug, lesson in teaching.lessons.items():
        values |= {f"lesson/{slug}/{name}": count for name, count in vars(lesson).items()}
    rows = [
        {"subject_id": snapshot.dataset_id, "name": name, "step": -1, "value": float(value)}
        for name, value in values.items()
    ]
    with ledger.transaction() as con:
        insert(con, "metrics", rows, replace=True)
