"""The processes and the device of one run: an engine, a warm worker, and who holds the device."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan.hands import Hand
from flows.plan.inputs import Inputs, find_checkpoint
from flows.plan.parts import ServerSettings
from flows.plan.recipe import Recipe
from flows.run import progress
from flows.run.servers import server_engine
from flows.run.slot import device_slot
from storage.errors import InputError
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks import models
from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Engine
from tasks.engines.scripted import ScriptedEngine
from tasks.evaluation.answers import Policy
from tasks.process import Worker, warm_up


class Workers:
    """The engines of a run, kept until `release`, and one worker that warms up.

    At most one has weights loaded: where a model with others is asked, it ends. Those of servers
    are kept beside it.
    """

    def __init__(self, inputs: Inputs, workspace: Workspace, ledger: Ledger, run_id: str) -> None:
        self.inputs, self.workspace, self.ledger, self.run_id = inputs, workspace, ledger, run_id
        self._engine: Engine | None = None
        self._asked_for: object = None  # what the engine is for
        self._elsewhere: dict[str, Engine] = {}  # engines without weights here, by model id
        self._prepared: dict[str, models.PreparedModel] = {}
        self._device = ExitStack()
        self._has_device = False
        self._warm: Worker | None = None

    @property
    def model(self) -> models.PreparedModel:
        """The model that is trained, on disk."""
        return self.prepared(self.inputs.recipe.model)

    def prepared(self, reference: str) -> models.PreparedModel:
        """A model on disk; converted or downloaded at first use."""
        if reference not in self._prepared:
            self._prepared[reference] = prepare_model(reference, self.workspace, self.ledger)
        return self._prepared[reference]

    def generator(self, model_id: str) -> Engine:
        """The engine of a model that the run asks, made at first use and kept."""
        hand = next(hand for hand in self.inputs.asked if hand.model_id == model_id)
        if isinstance(hand.source, str):
            return self._kept(("generate", hand.weights_id), partial(self._generator, hand))
        if model_id not in self._elsewhere:
            self._elsewhere[model_id] = self._without_weights(hand)
        return self._elsewhere[model_id]

    def _without_weights(self, hand: Hand) -> Engine:
        if isinstance(hand.source, ServerSettings):
            return server_engine(hand.source, hand.model_id, self.workspace, hearer("server"))
        return ScriptedEngine(batch_rows=self.inputs.recipe.generation.batch_rows)

    def _generator(self, hand: Hand) -> Engine:
        """A worker with a model's weights, and the adapters of all that are asked on the same."""
        found = {
            other.model_id: self.prepared(other.source)
            for other in self.inputs.asked
            if isinstance(other.source, str) and other.weights_id == hand.weights_id
        }
        adapters = {name: model.adapter for name, model in found.items() if model.adapter}
        path, rows = found[hand.model_id].path, self.inputs.recipe.generation.batch_rows
        return self._worker_engine("generate", path, adapters, "none", rows)

    def evaluator(self, policies: Sequence[Policy]) -> Engine:
        """The engine for what is evaluated: the base as it is trained on, with the adapters."""
        adapters = {p.model_id: p.adapter for p in policies if p.adapter}
        recipe = self.inputs.recipe
        rows = recipe.evaluation.batch_size
        asked = self.model.path, adapters, recipe.quantization, rows
        return self._kept(tuple(adapters), partial(self._worker_engine, "evaluate", *asked))

    def _kept(self, asked_for: object, start: Callable[[], Engine]) -> Engine:
        """The engine that is there, where it is for the same; else a new one in its place."""
        if self._engine is None or self._asked_for != asked_for:
            self._end_weights()
            self._engine, self._asked_for = start(), asked_for
        return self._engine

    def _worker_engine(
        self, job: str, path: Path, adapters: dict[str, Path], quantization: Any, rows: int
    ) -> Engine:
        recipe = self.inputs.recipe
        check_context(path, recipe)
        return WorkerEngine(
            path,
            self.log(job),
            adapters=adapters,
            quantization=quantization,
            dtype=recipe.compute,
            batch_tokens=recipe.generation.batch_tokens,
            batch_rows=rows,
            threads=recipe.threads,
            on_event=hearer(job),
        )

    def hold_device(self) -> bool:
        """Take the device until `release`; whether it was not held already.

        It is kept between chunks, as the model stays in its memory.
        """
        if self._has_device:
            return False
        self._device.enter_context(device_slot(self.workspace, self.run_id))
        self._has_device = True
        return True

    def end_engine(self) -> None:
        self._end_weights()
        while self._elsewhere:
            self._elsewhere.popitem()[1].close()

    def _end_weights(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def release(self) -> None:
        self.end_engine()
        self._device.close()
        self._has_device = False

    def warm_up(self, job: str) -> None:
        """Load the libraries of the next job while this one runs."""
        if self._warm is None:
            self._warm = warm_up(job, self.log(job), self.inputs.recipe.threads)

    def warm_worker(self, job: str) -> Worker | None:
        """The worker that was warmed up for this job, if there is one; another's is ended."""
        found, self._warm = self._warm, None
        if found is not None and not (found.job == job and found.is_alive):
            found.close()
            return None
        return found

    def close(self) -> None:
        """End every process of this run."""
        self.release()
        self.warm_worker("")

    def log(self, name: str) -> Path:
        return self.workspace.logs / self.run_id / f"{name}.log"


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


def prepare_model(reference: str, workspace: Workspace, ledger: Ledger) -> models.PreparedModel:
    """Convert or download a model where that was not done yet, and show it."""
    heard, hear = False, hearer("preparing the model")

    def listen(event: dict[str, Any]) -> None:
        nonlocal heard
        heard = True
        hear(event)

    find = partial(find_checkpoint, ledger, workspace)
    prepared = models.prepare(reference, workspace, on_event=listen, find_checkpoint=find)
    if heard:
        progress.current().finish("done, and kept in the workspace")
    return prepared


def check_context(model: Path, recipe: Recipe) -> None:
    """Raise InputError where the longest request and answer do not fit the model's context."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    context, generation = config.get("max_position_embeddings"), recipe.generation
    answers = [*generation.max_new_tokens.model_dump().values(), recipe.evaluation.max_new_tokens]
    if recipe.pairs.shares.distilled or recipe.pairs.shares.candidates:
        answers.append(recipe.pairs.max_new_tokens)
    worst = generation.max_prompt_tokens + max(answers)
    if context and worst > context:
        raise InputError(
            worst,
            f"max_prompt_tokens plus the longest answer must fit the context of {context} tokens",
            "lower generation.max_prompt_tokens",
            "generation",
        )
