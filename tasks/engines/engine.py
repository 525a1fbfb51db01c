"""Engines answer requests: the interface, and the engine that runs in a worker process.

This is the parent's side and imports no torch. A request goes out rendered (messages, or raw text
for a base model); what comes back is text. Which rows share a batch changes nothing but speed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tasks.process import Worker, WorkerError

FinishReason = Literal["stop", "length", "too_long"]
Message = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """One model call. Exactly one of `messages` (role, content) and `text` is given.

    temperature >= 0, 0 is greedy; 0 < top_p <= 1; `seed` 64 bits; `max_new_tokens` >= 1 and the
    same for all requests of a call; a prompt over `max_prompt_tokens` is not generated
    (`too_long`).
    """

    messages: Sequence[Message] | None
    text: str | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    max_new_tokens: int
    max_prompt_tokens: int
    seed: int


@dataclass
class Completion:
    """The answer to request number `index` of the call.

    "stop": the model ended its turn, or wrote a stop string (removed from `text`); "length": cut at
    `max_new_tokens`; "too_long": not generated. `completion_tokens` counts sampled tokens, the one
    that ended the text included, so a completion with reason "stop" fits every limit >=
    `completion_tokens`.
    """

    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Batch:
    """Completions finished together: `rows` of them in `duration_s` seconds of model time."""

    items: list[Completion]
    duration_s: float
    rows: int


class Engine(Protocol):
    """What answers requests. `device` and `dtype` are empty until the model is loaded."""

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    def generate(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """Yield every request's completion once, in batches of any order."""
        ...

    def close(self) -> None: ...


def _quiet(_event: dict[str, Any]) -> None:
    """The listener that listens to nothing."""


class WorkerEngine:
    """The transformers engine in a worker process, started by the first call, kept until `close`.

    After a failure (WorkerError) the next call starts a fresh worker. A context manager.
    """

    name = "transformers"

    def __init__(
        self,
        path: Path,
        log_path: Path,
        *,
        adapter: Path | None = None,
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_tokens: int = 16384,
        batch_rows: int = 64,
        threads: int = 0,
        on_event: Callable[[dict[str, Any]], None] = _quiet,
    ) -> None:
        model = {"path": str(path), "adapter": str(adapter) if adapter else None, "dtype": dtype}
        self._spec = {
            "job": "generate",
            "model": model,
            "batch_tokens": batch_tokens,
            "batch_rows": batch_rows,
            "threads": threads,
        }
        self.device = ""
        self.dtype = ""
        self.context = 0
        self._log_path = log_path
        self._on_event = on_event
        self._worker: Worker | None = None
        self._calls = itertools.count(1)

    def __enter__(self) -> WorkerEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """See `Engine`. Raises InputError or WorkerError; leaving early loses what is
        unfinished."""
        if not requests:
            return
        try:
            yield from self._call(requests)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """End the worker, if there is one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _call(self, requests: Sequence[Request]) -> Iterator[Batch]:
        worker = self._ready_worker()
        call = next(self._calls)
        worker.send({"call": call, "requests": [asdict(request) for request in requests]})
        for event in worker.events():
            if event.get("call", call) != call:
                continue  # left over from a call whose reader went away
            if event["event"] == "completions":
                items = [Completion(**item) for item in event["items"]]
                yield Batch(items, event["duration_s"], event["batch_rows"])
            elif event["event"] == "done":
                return
            else:
                self._on_event(event)
        raise WorkerError("worker generate ended before the call was done")

    def _ready_worker(self) -> Worker:
        """The running worker, started and waited for if need be."""
        if self._worker is not None:
            return self._worker
        self._worker = Worker(self._spec, self._log_path).start()
        for event in self._worker.events():
            self._on_event(event)
            if event["event"] == "ready":
                self.device, self.dtype, self.context = (
                    event["device"],
                    event["dtype"],
                    event["context"],
                )
                return self._worker
        raise WorkerError("worker generate ended before its model was loaded")
