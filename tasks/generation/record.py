"""Write what a run is about into the ledger: constitution, prompts, model, rows and snapshots."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from constitution.schema import Constitution, Principle
from storage.ids import canonical_json, content_id, dataset_id
from storage.ledger import Ledger, fill, insert, now
from tasks.generation.assemble import Example, Exclusion, Pair, Step
from tasks.generation.calls import principle_id
from tasks.prompts import Prompt


@dataclass(frozen=True)
class Snapshot:
    """An immutable set of rows: those to train on and those held out, by id."""

    kind: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def dataset_id(self) -> str:
        return dataset_id(self.kind, self.training, self.held_out)


def constitution_id(constitution: Constitution) -> str:
    """The id of a constitution's whole content: every field of every principle and example."""
    return content_id("constitution", _body(constitution))


def _body(constitution: Constitution) -> dict[str, object]:
    body = dataclasses.asdict(constitution)
    for part in (*body["principles"], *body["examples"]):
        part.pop("line", None)
    return body


def record_constitution(ledger: Ledger, constitution: Constitution, path: str) -> str:
    """Keep this version of the constitution and of its principles; returns its id."""
    found = constitution_id(constitution)
    with ledger.transaction() as con:
        insert(con, "principles", [_principle_row(p) for p in constitution.principles])
        insert(
            con,
            "constitutions",
            [
                {
                    "constitution_id": found,
                    "name": constitution.name,
                    "version": constitution.version,
                    "path": path,
                    "principle_ids": [principle_id(p) for p in constitution.principles],
                    "body": canonical_json(_body(constitution)).decode(),
                    "created_at": now(),
                }
            ],
        )
    return found


def _principle_row(principle: Principle) -> dict[str, object]:
    return {
        "principle_id": principle_id(principle),
        "slug": principle.slug,
        "title": principle.title,
        "critique": principle.critique,
        "revision": principle.revision,
        "comparison": principle.comparison,
        "created_at": now(),
    }


def record_prompts(ledger: Ledger, prompts: Sequence[Prompt]) -> None:
    created = now()
    values = [
        {
            "prompt_id": prompt.prompt_id,
            "messages": json.dumps(list(prompt.messages), ensure_ascii=False),
            "category": prompt.category,
            "source": prompt.source,
            "source_line": prompt.line,
            "created_at": created,
        }
        for prompt in prompts
    ]
    with ledger.transaction() as con:
        insert(con, "prompts", values)


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


def record_exclusions(ledger: Ledger, run_id: str, exclusions: Iterable[Exclusion]) -> None:
    values = [
        {
            "row_id": found.row_id,
            "step": found.step,
            "reason": found.reason,
            "run_id": run_id,
            "detail": found.detail,
            "created_at": now(),
        }
        for found in exclusions
    ]
    with ledger.transaction() as con:
        insert(con, "exclusions", values)


def record_rows(
    ledger: Ledger,
    run_id: str,
    steps: Sequence[Step],
    examples: dict[str, Example],
    pairs: dict[str, Pair],
) -> None:
    """Keep revisions, examples and pairs.

    A revision that is there learns which rows it gives now and forgets none that it gave before:
    earlier snapshots keep their lineage.
    """
    created = now()
    with ledger.transaction() as con:
        revisions = [
            _revision_row(step, run_id, examples, pairs) | {"created_at": created} for step in steps
        ]
        insert(con, "revisions", revisions)
        if revisions:
            fill(con, "revisions", "revision_id", ["example_id", "pair_id"], revisions)
        insert(
            con, "examples", [_example_row(e) | {"created_at": created} for e in examples.values()]
        )
        insert(con, "pairs", [_pair_row(p) | {"created_at": created} for p in pairs.values()])


def _revision_row(
    step: Step, run_id: str, examples: dict[str, Example], pairs: dict[str, Pair]
) -> dict[str, object]:
    example, pair = examples.get(step.revision_id), pairs.get(step.revision_id)
    return {
        "revision_id": step.revision_id,
        "prompt_id": step.turn.prompt.prompt_id,
        "principle_id": step.principle_id,
        "response_completion_id": step.turn.answer.completion_id,
        "critique_completion_id": step.critique.completion_id,
        "revision_completion_id": step.revision.completion_id,
        "example_id": example.example_id if example else None,
        "pair_id": pair.pair_id if pair else None,
        "run_id": run_id,
        "round": step.round,
    }


def _example_row(example: Example) -> dict[str, object]:
    return {
        "example_id": example.example_id,
        "prompt_id": example.prompt_id,
        "completion_id": example.completion_id,
        "response": example.response,
        "source": "revision",
    }


def _pair_row(pair: Pair) -> dict[str, object]:
    return {
        "pair_id": pair.pair_id,
        "prompt_id": pair.prompt_id,
        "chosen_completion_id": pair.chosen.completion_id,
        "rejected_completion_id": pair.rejected.completion_id,
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "source": "revision",
        "preference": pair.preference,
    }


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
    members = [(row_id, False) for row_id in snapshot.training]
    members += [(row_id, True) for row_id in snapshot.held_out]
    with ledger.transaction() as con:
        insert(con, "datasets", [row])
        insert(
            con,
            "dataset_rows",
            [{"dataset_id": found, "row_id": r, "is_held_out": held} for r, held in members],
        )
    return found
