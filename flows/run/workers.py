"""The processes and the device of one run: an engine, a warm worker, and who holds the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan.checkpoints import find_checkpoint
from flows.plan.hands import Hand
from flows.plan.inputs import Inputs
from flows.plan.model_checks import check_folder
from flows.plan.parts import ServerSettings
from flows.run import progress
from flows.run.engines import embedded_engine, kind_of, vllm_engine, vllm_server
from flows.run.servers import server_engine
from flows.run.slot import device_slot
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks import models
from tasks.chat.folder import read_template
from tasks.chat.trial import try_out
from tasks.engines.engine import Engine
from tasks.engines.relay import Relay
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.vllm_server import VllmServer
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
        self._server: VllmServer | None = None  # of a model of ours
        self._prepared: dict[str, models.PreparedModel] = {}
        self._device = ExitStack()
        self._has_device = False
        self._warm: Worker | None = None

    @property
    def model(self) -> models.PreparedModel:
        """The model that is trained, on disk."""
        return self.prepared(self.inputs.recipe.model)

    def prepared(self, reference: str) -> models.PreparedModel:
        """A model on disk; converted or downloaded at first use, and then looked at."""
        if reference not in self._prepared:
            found = prepare_model(reference, self.workspace, self.ledger)
            manner = self.inputs.recipe.generation.manner
            try_out(found.path, self.workspace, manner)
            template = read_template(found.path, manner)
            check_folder(self.inputs, found.path, template)
            self._prepared[reference] = found
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
        """One with a model's weights, and the adapters of all that are asked on the same."""
        same = [other for other in self.inputs.asked if other.weights_id == hand.weights_id]
        found = {h.model_id: self.prepared(h.source) for h in same if isinstance(h.source, str)}
        adapters = {name: model.adapter for name, model in found.items() if model.adapter}
        recipe, path = self.inputs.recipe, found[hand.model_id].path
        if kind_of(recipe) == "vllm":
            return self._vllm_engine(path, adapters)
        return self._embedded("generate", path, adapters, "none", recipe.generation.batch_rows)

    def evaluator(self, policies: Sequence[Policy]) -> Engine:
        """The engine for what is evaluated: the base as it is trained on, with the adapters.

        vLLM answers for a base that is not quantized; scores are the embedded engine's.
        """
        adapters = {p.model_id: p.adapter for p in policies if p.adapter}
        return self._kept(tuple(adapters), partial(self._evaluator, adapters))

    def _evaluator(self, adapters: dict[str, Path]) -> Engine:
        recipe, path = self.inputs.recipe, self.model.path
        asked = path, adapters, recipe.quantization, recipe.evaluation.batch_size
        if kind_of(recipe) != "vllm" or recipe.quantization != "none":
            return self._embedded("evaluate", *asked)
        scorer = embedded_engine(recipe, *asked, self.log("evaluate"), hearer("evaluate"))
        return Relay(self._vllm_engine(path, adapters), scorer, self._end_server)

    def _kept(self, asked_for: object, start: Callable[[], Engine]) -> Engine:
        """The engine that is there, where it is for the same; else a new one in its place."""
        if self._engine is None or self._asked_for != asked_for:
            self._end_weights()
            self._engine, self._asked_for = start(), asked_for
        return self._engine

    def _embedded(
        self, job: str, path: Path, adapters: dict[str, Path], quantization: Any, rows: int
    ) -> Engine:
        self._end_server()
        asked = path, adapters, quantization, rows
        return embedded_engine(self.inputs.recipe, *asked, self.log(job), hearer(job))

    def _vllm_engine(self, path: Path, adapters: dict[str, Path]) -> Engine:
        """One that asks this run's vLLM, which stays up for the next where it can have them."""
        recipe, hear = self.inputs.recipe, hearer("vllm")
        server, there = vllm_server(recipe, path, adapters, self.log("vllm"), hear), self._server
        if there is None or there.folder != path or there.serving.rank < server.serving.rank:
            self._end_server()
            self._server = server
        return vllm_engine(self._server or server, recipe, adapters, hear)

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
        """End the engines and what they ask, and free the device's memory."""
        self._end_weights()
        self._end_server()
        while self._elsewhere:
            self._elsewhere.popitem()[1].close()

    def _end_weights(self) -> None:
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
