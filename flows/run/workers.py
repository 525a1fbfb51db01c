"""The processes and the device of one run: an engine, a warm worker, and who holds the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from flows.plan.inputs import Inputs, find_checkpoint
from flows.run import progress
from flows.run.engines import embedded_engine, kind_of, vllm_engine, vllm_server
from flows.run.servers import server_engine
from flows.run.slot import device_slot
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks import models
from tasks.engines.engine import Engine
from tasks.engines.relay import Relay
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.vllm_server import VllmServer
from tasks.evaluation.answers import Policy
from tasks.process import Worker, warm_up


class Workers:
    """At most one engine at a time, kept until `release`, and one worker that warms up."""

    def __init__(self, inputs: Inputs, workspace: Workspace, ledger: Ledger, run_id: str) -> None:
        self.inputs, self.workspace, self.ledger, self.run_id = inputs, workspace, ledger, run_id
        self._engine: Engine | None = None
        self._asked_for: object = None  # what the engine is for
        self._server: VllmServer | None = None
        self._device = ExitStack()
        self._has_device = False
        self._warm: Worker | None = None

    @cached_property
    def model(self) -> models.PreparedModel:
        """The model on disk; converted or downloaded at first use."""
        return prepare_model(self.inputs.recipe.model, self.workspace, self.ledger)

    def generator(self) -> Engine:
        """The engine for drafts, critiques and revisions, made at first use and kept."""
        recipe = self.inputs.recipe
        kind, rows = kind_of(recipe), recipe.generation.batch_rows

        def start() -> Engine:
            if kind == "scripted":
                return ScriptedEngine(batch_rows=rows)
            if kind == "openai":
                return server_engine(self.inputs, self.workspace, hearer("server"))
            adapter = {self.model.model_id: self.model.adapter} if self.model.adapter else {}
            if kind == "vllm":
                return self._vllm_engine(adapter)
            return self._embedded("generate", adapter, "none", rows)

        return self._kept("generate", start)

    def evaluator(self, policies: Sequence[Policy]) -> Engine:
        """The engine for what is evaluated: the base as it is trained on, with the adapters.

        vLLM answers for a base that is not quantized; scores are the embedded engine's.
        """
        adapters = {p.model_id: p.adapter for p in policies if p.adapter}
        recipe = self.inputs.recipe
        rows = recipe.evaluation.batch_size

        def start() -> Engine:
            if kind_of(recipe) != "vllm" or recipe.quantization != "none":
                return self._embedded("evaluate", adapters, recipe.quantization, rows)
            scorer = embedded_engine(
                self.model, recipe, adapters, "none", rows, self.log("evaluate"), hearer("evaluate")
            )
            return Relay(self._vllm_engine(adapters), scorer, self._end_server)

        return self._kept(tuple(adapters), start)

    def _kept(self, asked_for: object, start: Callable[[], Engine]) -> Engine:
        """The engine that is there, where it is for the same; else a new one in its place."""
        if self._engine is None or self._asked_for != asked_for:
            self._leave_engine()
            self._engine, self._asked_for = start(), asked_for
        return self._engine

    def _embedded(
        self, job: str, adapters: dict[str, Path], quantization: Any, rows: int
    ) -> Engine:
        self._end_server()
        return embedded_engine(
            self.model, self.inputs.recipe, adapters, quantization, rows, self.log(job), hearer(job)
        )

    def _vllm_engine(self, adapters: dict[str, Path]) -> Engine:
        """One that asks this run's vLLM, which stays up for the next where it can have them."""
        recipe, hear = self.inputs.recipe, hearer("vllm")
        server = vllm_server(self.model, recipe, adapters, self.log("vllm"), hear)
        if self._server is None or self._server.serving.rank < server.serving.rank:
            self._end_server()
            self._server = server
        return vllm_engine(self._server, recipe, adapters, hear)

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
        """End the engine and what it asks, and free the device's memory."""
        self._leave_engine()
        self._end_server()

    def _leave_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.close()

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
