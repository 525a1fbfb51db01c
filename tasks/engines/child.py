"""The transformers engine, as seen from the flow's process: the model lives in a worker process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tasks.engines.engine import Batch, Completion, Continuation, Item, Request, Score
from tasks.process import Worker, WorkerError


class WorkerEngine:
    """Implements `Engine`: a worker that is started by the first call and kept until `close`.

    `adapters`: the folder of each, by name. Methods raise InputError or WorkerError; the next call
    after a WorkerError starts a fresh worker.
    """

    name = "transformers"

    def __init__(
        self,
        path: Path,
        log_path: Path,
        *,
        adapters: Mapping[str, Path] | None = None,
        quantization: Literal["nf4", "none"] = "none",
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_tokens: int = 16384,
        batch_rows: int = 128,
        threads: int = 0,
        chat: Mapping[str, Any] | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> None:
        self.adapters = {name: str(folder) for name, folder in (adapters or {}).items()}
        self._spec = {
            "job": "generate",
            "model": {
                "path": str(path),
                "adapters": self.adapters,
                "quantization": quantization,
                "dtype": dtype,
                "chat": dict(chat or {}),
            },
            "batch_tokens": batch_tokens,
            "batch_rows": batch_rows,
            "threads": threads,
        }
        self.device, self.dtype, self.context = "", "", 0
        self._log_path, self._on_event = log_path, on_event
        self._worker: Worker | None = None
        self._calls = itertools.count(1)

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        return self._call("generate", requests, Completion)

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        return self._call("score", continuations, Score)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        return self._call("reward", continuations, Score)

    def close(self) -> None:
        """End the worker, if there is one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _call(
        self, what: str, asked: Sequence[Request | Continuation], kind: type[Item]
    ) -> Iterator[Batch[Item]]:
        """Ask the worker; whoever leaves early loses what is unfinished."""
        if not asked:
            return
        try:
            worker, call = self._ready_worker(), next(self._calls)
            worker.send({"call": call, "do": what, "items": [asdict(item) for item in asked]})
            for event in worker.events():
                if event.get("call", call) != call:
                    continue  # left over from a call whose reader went away
                if event["event"] == "items":
                    yield Batch([kind(**item) for item in event["items"]], event["duration_s"])
                elif event["event"] == "done":
                    return
                else:
                    self._on_event(event)
            raise WorkerError("worker generate ended before the call was done")
        except Exception:
            self.close()
            raise

    def _ready_worker(self) -> Worker:
        """The running worker, started and waited for if need be."""
        if self._worker is not None:
            return self._worker
        self._worker = Worker(self._spec, self._log_path).start()
        for event in self._worker.events():
            self._on_event(event)
            if event["event"] == "ready":
                self.device, self.dtype = event["device"], event["dtype"]
                self.context = event["context"]
                return self._worker
        raise WorkerError("worker generate ended before its model was loaded")
