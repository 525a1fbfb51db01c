"""Standard tasks on a model that a person names; figures go to the ledger.

No run: it waits for no device, as all that is asked by hand. What was asked is kept, so a second
time costs nothing and a killed command goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flows.plan.answers import quantized
from flows.plan.subjects import Subject
from flows.run.by_hand import engine_of
from storage.ledger import Ledger, insert
from storage.workspace import Workspace
from tasks import models
from tasks.generation.record import record_model
from tasks.model_files import Digests, adapter_id
from tasks.standard.figures import Figure, figures
from tasks.standard.harness import run_tasks
from tasks.standard.memo import Asker

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What came of it. subject_id: of the figures in the ledger: the checkpoint, or the model of a
    base. requests: distinct questions, of which `reused` were in the ledger, and `refused` did not
    fit the model's context and count as empty answers.
    """

    subject_id: str
    figures: Sequence[Figure]
    requests: int
    reused: int
    refused: int


def measure(
    model: Subject,
    tasks: dict[str, Any],
    ledger: Ledger,
    workspace: Workspace,
    say: Say,
    *,
    limit: int | None = None,
    is_chat: bool = False,
) -> Measured:
    """Ask a model the tasks (of `harness.load_tasks`) and keep their figures.

    limit: the first so many questions of every task. is_chat: as a conversation, with the model's
    template, instead of as raw text.
    """
    say("preparing the model")
    model_id = _record(model, ledger, workspace)
    with engine_of(model.base, [model], workspace, say) as engine:
        asker = Asker(
            ledger,
            engine,
            model_id,
            model.checkpoint_id,
            lambda done, total: say(f"questions: {done} of {total}"),
        )
        found = figures(run_tasks(tasks, asker, limit, is_chat))
    subject_id = model.checkpoint_id or model_id
    _keep(ledger, subject_id, found)
    return Measured(subject_id, found, asker.total, asker.reused, asker.refused)


def _record(model: Subject, ledger: Ledger, workspace: Workspace) -> str:
    """The id of the model that answers, which is kept in the ledger with its base."""
    reference, kind = model.base.reference, str(model.base.quantization)
    source = models.prepare(reference, workspace).model_id
    base = quantized(kind, source)
    record_model(ledger, source, models.parse(reference).kind, reference)
    if base != source:
        record_model(ledger, base, "quantized", f"{reference} ({kind})", source)
    if model.adapter is None:
        return base
    digests = Digests(workspace)
    found = adapter_id(model.adapter, base, digests)
    digests.save()
    checkpoint = model.checkpoint_id
    record_model(ledger, found, "checkpoint", f"checkpoint:{checkpoint}", base, checkpoint)
    return found


def _keep(ledger: Ledger, subject_id: str, found: Sequence[Figure]) -> None:
    """Into the ledger's metrics; a task that was measured before has its new figures alone."""
    rows = [
        {
            "subject_id": subject_id,
            "name": figure.name,
            "step": -1,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "sample_count": figure.n,
        }
        for figure in found
    ]
    with ledger.transaction() as con:
        insert(con, "metrics", rows, replace=True)
