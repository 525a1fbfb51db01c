"""What the steps of one run share: inputs, ledger, workers, and what was done."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan.inputs import Inputs, find_checkpoint
from flows.plan.recipe import Recipe
from flows.run import progress
from flows.run.slot import device_slot
from storage.errors import InputError
from storage.ledger import Ledger, insert, now, point
from storage.workspace import Workspace
from tasks import models
from tasks.engines.engine import Engine, WorkerEngine
from tasks.engines.scripted import ScriptedEngine
from tasks.process import Worker, warm_up


@dataclasses.dataclass
class StepResult:
    """What a run did in one step: the row of `solon run --json`."""

    step: str
    reused: int = 0
    generated: int = 0
    excluded: int = 0
    trained: int = 0
    id: str | None = None
    duration_s: float = 0.0


class Session:
    """One run. Steps read inputs from it and leave their results in `steps`."""

    def __init__(self, inputs: Inputs, workspace: Workspace, ledger: Ledger, run_id: str) -> None:
        self.inputs, self.workspace, self.ledger, self.run_id = inputs, workspace, ledger, run_id
        self.steps: dict[str, StepResult] = {}
        self.refs: str | None = "latest"  # how the refs this run moves begin; None: it moves none
        self._decisions = itertools.count()
        self._engine: Engine | None = None
        self._device = ExitStack()
        self._has_device = False
        self._warm: Worker | None = None
        self._model: models.PreparedModel | None = None

    @property
    def recipe(self) -> Recipe:
        return self.inputs.recipe

    @property
    def model(self) -> models.PreparedModel:
        """The model on disk; converted or downloaded at first use."""
        if self._model is None:
            find = partial(find_checkpoint, self.ledger, self.workspace)
            self._model = prepare_model(self.recipe.model, self.workspace, find)
        return self._model

    def engine(self) -> Engine:
        """The engine, made at first use with the model it needs, and kept until `close_engine`."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        generation = self.recipe.generation
        if generation.engine == "scripted":
            return ScriptedEngine(batch_rows=generation.batch_rows)
        check_context(Path(self.model.path), self.recipe)
        return WorkerEngine(
            Path(self.model.path),
            self.log("generate"),
            adapter=self.model.adapter,
            dtype=self.recipe.compute,
            batch_tokens=generation.batch_tokens,
            batch_rows=generation.batch_rows,
            threads=self.recipe.threads,
            on_event=hearer("generate"),
        )

    def hold_device(self) -> bool:
        """Take the device for generation until `close_engine`; whether it was not held already.

        It is kept between chunks, as the model stays in its memory.
        """
        if self._has_device:
            return False
        self._device.enter_context(device_slot(self.workspace, self.run_id))
        self._has_device = True
        return True

    def close_engine(self) -> None:
        """End the generation worker, so that its memory and the device are free for training."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._device.close()
        self._has_device = False

    def warm_up(self, job: str) -> None:
        """Load the libraries of the next job while this one runs."""
        if self._warm is None:
            self._warm = warm_up(job, self.log(job), self.recipe.threads)

    def warm_worker(self, job: str) -> Worker | None:
        """The worker that was warmed up for this job, if there is one; another's is ended."""
        found, self._warm = self._warm, None
        if found is not None and not (found.job == job and found.is_alive):
            found.close()
            return None
        return found

    def close(self) -> None:
        """End every process of this run."""
        self.close_engine()
        self.warm_worker("")

    def log(self, name: str) -> Path:
        return self.workspace.logs / self.run_id / f"{name}.log"

    def point(self, name: str, target_id: str) -> None:
        """Move the run's ref of that name."""
        if self.refs:
            point(self.ledger, f"{self.refs}/{name}", target_id)

    def result(self, step: str) -> StepResult:
        return self.steps.setdefault(step, StepResult(step))

    def decide(
        self, step: str, subject_id: str, verdict: str, rows: int = 1, why: list[Any] | None = None
    ) -> None:
        """Record a decision, once for every component that changed."""
        values = [
            {
                "run_id": self.run_id,
                "number": next(self._decisions),
                "step": step,
                "subject_id": subject_id,
                "verdict": verdict,
                "row_count": rows,
                "component": component,
                "was": None if was is None else str(was),
                "is_now": None if is_now is None else str(is_now),
                "created_at": now(),
            }
            for component, was, is_now in (why or [(None, None, None)])
        ]
        with self.ledger.transaction() as con:
            insert(con, "decisions", values)


def hearer(step: str) -> Callable[[dict[str, Any]], None]:
    """Shows a worker's events as they come: what it says, and how far it is in `step`."""
    bar, is_started = progress.current(), False

    def hear(event: dict[str, Any]) -> None:
        nonlocal is_started
        if event["event"] == "log":
            bar.say(event["message"])
        elif event["event"] == "progress":
            if not is_started:
                bar.start(step, event["total"], event.get("unit", "steps"))
                is_started = True
            numbers = {name: value for name, value in event.items() if isinstance(value, float)}
            note = " ".join(f"{name} {value:.3g}" for name, value in numbers.items())
            bar.update(event["done"], event["total"], note)

    return hear


def prepare_model(
    reference: str, workspace: Workspace, find: models.FindCheckpoint
) -> models.PreparedModel:
    """Convert or download a model where that was not done yet, and show it."""
    heard, hear = False, hearer("preparing the model")

    def listen(event: dict[str, Any]) -> None:
        nonlocal heard
        heard = True
        hear(event)

    prepared = models.prepare(reference, workspace, on_event=listen, find_checkpoint=find)
    if heard:
        progress.current().finish("done, and kept in the workspace")
    return prepared


def check_context(model: Path, recipe: Recipe) -> None:
    """Raise InputError where the longest request and answer do not fit the model's context."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    context = config.get("max_position_embeddings")
    limits = recipe.generation.max_new_tokens
    worst = recipe.generation.max_prompt_tokens + max(
        limits.draft, limits.critique, limits.revision
    )
    if context and worst > context:
        raise InputError(
            worst,
            f"max_prompt_tokens plus the longest answer must fit the context of {context} tokens",
            "lower generation.max_prompt_tokens",
            "generation",
        )


@contextmanager
def timed(result: StepResult) -> Iterator[None]:
    """Add the block's seconds to a step's duration."""
    started = time.monotonic()
    try:
        yield
    finally:
        result.duration_s = round(result.duration_s + time.monotonic() - started, 3)
