"""An OpenAI-compatible server without a model, in a thread, that can misbehave in every way.

It answers as `ScriptedEngine` does, by the hash of what is asked, so any two servers say the same.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tasks.engines.engine import Completion, Request
from tasks.engines.scripted import ScriptedEngine

MODEL = "scripted-chat"
FAULTS = ("busy", "error", "half", "drop", "hang")


class ScriptedServer:
    """Serves until it is left, or `kill`ed.

    faults: the share of requests that each fault of FAULTS befalls. `context`: words it can read.
    `seeds`, `top_logprobs`, `echo`: what it can do. `status`: answers everything with it.
    `answers`: (time, path, body) of every request it answered well.
    """

    def __init__(
        self,
        *,
        faults: Mapping[str, float] | None = None,
        model: str = MODEL,
        answers_as: str | None = None,
        report: Mapping[str, Any] | None = None,
        adapters: tuple[str, ...] = (),
        key: str | None = None,
        context: int = 1 << 30,
        seeds: bool = True,
        top_logprobs: int = 20,
        echo: bool = True,
        status: tuple[int, dict[str, Any]] | None = None,
        before: Callable[[ScriptedServer], None] = lambda server: None,
        port: int = 0,
    ) -> None:
        self.faults, self.model, self.key = dict(faults or {}), model, key
        self.answers_as, self.report, self.adapters = answers_as, dict(report or {}), adapters
        self.context, self.seeds, self.top_logprobs, self.echo = context, seeds, top_logprobs, echo
        self.status, self.before = status, before
        self.answers: list[tuple[float, str, dict[str, Any]]] = []
        self.seen: Counter[str] = Counter()
        self.busy = self.most_busy = 0
        self.lock, self.is_dead = threading.Lock(), False
        self.chance = random.Random(len(self.faults))
        self.engine = ScriptedEngine()
        self.http = _Http(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End at once: what is being answered is dropped, and nobody listens any more."""
        if not self.is_dead:
            self.is_dead = True
            threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def fault(self) -> str:
        """What befalls the next request; empty for nothing."""
        with self.lock:
            draw = self.chance.random()
        for name, share in self.faults.items():
            draw -= share
            if draw < 0:
                return name
        return ""

    def chat(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        made = self._complete(body, body["messages"], None)
        if made.finish_reason == "too_long":
            said = f"This model's maximum context length is {self.context} tokens."
            return 400, {"error": {"message": said, "code": None}}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": made.text},
            "finish_reason": made.finish_reason,
        }
        if body.get("logprobs"):
            if body["top_logprobs"] > self.top_logprobs:
                return 400, {"error": {"message": "top_logprobs is too high"}}
            choice["logprobs"] = {"content": [_likeliest(body["top_logprobs"])]}
        return 200, self._body(body, choice, made)

    def text(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("echo"):
            if not self.echo or body["max_tokens"] == 0:
                return 400, {"error": {"message": "echo is not supported"}}
            words = [f"{word} " for word in body["prompt"].split()]
            words[-1] = words[-1].rstrip()
            values = [None, *[math.log(0.5)] * (len(words) - 1), -3.0]
            told = {"tokens": [*words, " more"], "token_logprobs": values}
            choice = {"index": 0, "text": "", "finish_reason": "length", "logprobs": told}
            return 200, {"model": body["model"], "choices": [choice]}
        made = self._complete(body, None, body["prompt"])
        choice = {"index": 0, "text": made.text, "finish_reason": made.finish_reason}
        return 200, self._body(body, choice, made)

    def _complete(self, body: Mapping[str, Any], messages: Any, text: str | None) -> Completion:
        seed = body.get("seed", 0) if self.seeds else random.getrandbits(31)
        stop = tuple(body.get("stop", ()))
        sampling = (body.get("temperature", 1.0), body.get("top_p", 1.0), stop)
        most = body["max_tokens"]
        request = Request(messages, text, *sampling, most, self.context, seed)
        return next(iter(self.engine.generate([request]))).items[0]

    def _body(
        self, body: Mapping[str, Any], choice: dict[str, Any], made: Completion
    ) -> dict[str, Any]:
        usage = {"prompt_tokens": made.prompt_tokens, "completion_tokens": made.completion_tokens}
        model = self.answers_as or body["model"]
        return {"id": "x", "model": model, "choices": [choice], "usage": usage}

    def models(self) -> dict[str, Any]:
        own = {"id": self.model, "created": time.time(), "owned_by": "tests"} | self.report
        return {"data": [own, *({"id": name, "root": "x"} for name in self.adapters)]}


def _likeliest(number: int) -> dict[str, Any]:
    told = {"A": math.log(0.6), "B": math.log(0.2), "C": math.log(0.1)}
    rest = {f"t{n}": -12.0 - n for n in range(20)}
    top = [{"token": t, "logprob": v} for t, v in (told | rest).items()][:number]
    return {"token": "A", "logprob": told["A"], "top_logprobs": top}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A dropped connection is meant."""


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, server.models())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.before(server)
            with server.lock:
                server.busy += 1
                server.most_busy = max(server.most_busy, server.busy)
            try:
                self.post(body)
            finally:
                with server.lock:
                    server.busy -= 1

        def post(self, body: dict[str, Any]) -> None:
            fault = server.fault()
            server.seen[fault] += 1
            if server.is_dead or fault == "drop":
                self.close_connection = True
                self.connection.close()
                return
            if fault == "hang":
                time.sleep(1.0)
            elif fault == "busy":
                self.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})
                return
            elif fault == "error":
                self.answer(500, {"error": {"message": f"overloaded, {self.key()}"}})
                return
            if server.key and self.key() != server.key:
                said = {"error": {"message": f"Incorrect API key provided: {self.key()}"}}
                self.answer(401, said)
                return
            if server.status:
                self.answer(*server.status)
                return
            if self.path.endswith("/load_lora_adapter"):
                server.adapters += (body["lora_name"],)
                self.answer(200, {"said": "added"})
                return
            if body["model"] not in (server.model, *server.adapters):
                self.answer(404, {"error": {"message": f"no model {body['model']}"}})
                return
            is_chat = self.path.endswith("/chat/completions")
            status, found = server.chat(body) if is_chat else server.text(body)
            if status == 200 and not fault:
                server.answers.append((time.monotonic(), self.path, body))
            self.answer(status, found, is_half=fault == "half")

        def key(self) -> str:
            return str(self.headers.get("Authorization")).removeprefix("Bearer ")

        def answer(
            self,
            status: int,
            body: dict[str, Any],
            headers: Mapping[str, str] | None = None,
            is_half: bool = False,
        ) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if is_half else data)
            if is_half:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is shown."""

    return Handler
