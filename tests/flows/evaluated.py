"""A world whose run is evaluated without models: scripted policies and a scripted judge."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from constitution.render import COMPARISON_ANSWERS
from flows.plan.answers import with_champion
from flows.plan.inputs import Inputs
from flows.plan.needs import evaluation_need, ids, stage_needs
from flows.plan.plan import Plan
from flows.plan.planner import Planner
from flows.run.evaluation import _evaluate, figures
from flows.run.results import Results, StepResult
from flows.run.session import Session
from storage.artifacts import artifact_path, is_whole, writing
from storage.ledger import insert, now, point
from tasks.engines.engine import Batch, Completion, Continuation, Request, Score
from tasks.evaluation.answers import Policy

from .world import SCRIPTED, Judging, World


class Silent:
    """Progress that nobody hears."""

    def start(self, step: str, total: int, unit: str) -> None: ...
    def update(self, done: int, total: int, note: str = "") -> None: ...
    def finish(self, summary: str) -> None: ...
    def say(self, message: str) -> None: ...


class Policies(Judging):
    """Every adapter answers in words of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Request] = []

    def of(self, policies: Sequence[Policy]) -> Policies:
        self.adapters = tuple(policy.model_id for policy in policies if policy.adapter)
        return self

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        is_judged = [asked.text in COMPARISON_ANSWERS for asked in continuations]
        return super().score(continuations) if all(is_judged) else SCRIPTED.score(continuations)

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.calls += requests
        own = [
            replace(asked, seed=asked.seed ^ zlib.crc32((asked.adapter or "").encode()))
            for asked in requests
        ]
        return super().generate(own)


class Evaluated(World):
    """A world with checkpoints that nobody trained."""

    def __init__(self, home: Path, **overrides: Any) -> None:
        super().__init__(home, **overrides)
        self.engine = Policies()
        self.run(self.inputs, engine=self.engine)

    def checkpoints(self, inputs: Inputs) -> dict[str, str]:
        """The run's, by stage, written where they are not there."""
        found = ids(stage_needs(inputs, self.rows))
        for stage, checkpoint in found.items():
            self.checkpoint(checkpoint, stage, inputs.base_model_id)
        return found

    def checkpoint(self, checkpoint: str, stage: str, base: str, words: str = "") -> None:
        if is_whole(artifact_path(self.workspace, checkpoint)):
            return
        with writing(self.workspace, checkpoint) as out:
            (out / "adapter").mkdir()
            (out / "adapter" / "adapter_config.json").write_text(words or checkpoint)
        row: dict[str, Any] = {
            "checkpoint_id": checkpoint,
            "base_model_id": base,
            "dataset_id": "dst_1",
        }
        row |= {"run_id": "run_1", "stage": stage, "components": "{}", "path": "p"}
        row |= {"parent_ids": ["mdl_1"], "parent_roles": ["base"]}
        with self.ledger.transaction() as con:
            insert(con, "checkpoints", [row | {"duration_s": 1.0, "created_at": now()}])

    def champion(self, checkpoint: str, inputs: Inputs, words: str = "") -> None:
        self.checkpoint(checkpoint, "dpo", inputs.base_model_id, words)
        point(self.ledger, "champion", checkpoint)

    def plan_all(self, inputs: Inputs) -> Plan:
        return Planner(inputs, self.workspace, self.ledger).make()

    def evaluate(self, inputs: Inputs) -> Evaluation:
        session = cast(
            Session,
            SimpleNamespace(
                inputs=inputs,
                recipe=inputs.recipe,
                workspace=self.workspace,
                ledger=self.ledger,
                run_id="run_1",
                results=Results(self.ledger, "run_1"),
                workers=SimpleNamespace(
                    hold_device=lambda: False,
                    evaluator=self.engine.of,
                    generator=lambda model_id: self.engine,
                ),
            ),
        )
        found = with_champion(inputs, self.workspace, self.ledger, self.checkpoints(inputs))
        need = evaluation_need(inputs, found)
        with writing(self.workspace, need.id) as out:
            _evaluate(session, need, out)
        return Evaluation(session, need.id)


class Evaluation:
    """What came of one."""

    def __init__(self, session: Session, evaluation_id: str) -> None:
        self.session, self.id = session, evaluation_id
        self.folder = artifact_path(session.workspace, evaluation_id)

    def made(self, step: str) -> StepResult:
        return self.session.results.of(step)

    def rows(self, name: str = "answers.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    @property
    def figures(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = figures(self.session, self.id)
        return {(row["policy"], row["metric"]): row for row in found}
