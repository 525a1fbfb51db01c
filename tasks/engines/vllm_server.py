"""A `vllm serve` of our own: started on the loopback, waited for, ended with all its processes.

Its key is drawn anew and passed by the environment, which no list of processes shows. It dies with
this process (`tasks.guard`), is never online, and sends no statistics.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from storage.errors import SolonError
from tasks.engines.vllm_command import (
    Serving,
    command,
    device,
    environment,
    must_find_vllm,
    number_type,
)

LOOK_EVERY_S = 0.5
SAY_EVERY_S = 15.0
END_WAIT_S = 30.0
OnEvent = Callable[[dict[str, Any]], None]


class VllmServer:
    """Serves a folder as the model `name` from `start` to `close`. `loaded`: names of adapters."""

    def __init__(
        self, folder: Path, name: str, log_path: Path, serving: Serving, on_event: OnEvent
    ) -> None:
        self.folder, self.name, self.log_path, self.serving = folder, name, log_path, serving
        self.device = device()
        self.dtype = number_type(serving.dtype)
        self.key = secrets.token_urlsafe(32)
        self.loaded: set[str] = set()
        self._say = lambda text: on_event({"event": "log", "message": text})
        self._process: subprocess.Popen[bytes] | None = None
        self._port = self._log_start = 0

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises InputError where there is no vLLM; SolonError with what the log says where it ends
        before, or takes longer than it may.
        """
        executable = must_find_vllm()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._port, self.loaded = _free_port(), set()
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        asked = command(executable, self.folder, self.name, self._port, self.serving)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.guard", *asked],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(self.key),
                start_new_session=True,  # Ctrl-C reaches the whole group: the parent decides
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it and all its processes. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(END_WAIT_S)
        finally:
            process.kill()  # does nothing to a process that has ended
            process.wait()

    def load(self, adapter: str, folder: Path) -> None:
        """Have it answer as the base with this adapter, under the adapter's name. SolonError."""
        if adapter in self.loaded:
            return
        body = {"lora_name": adapter, "lora_path": str(folder)}
        try:
            told = self._send("POST", "/v1/load_lora_adapter", body, timeout=300.0)
        except httpx.HTTPError as error:
            raise self.gone() or SolonError(f"vLLM loads no adapter ({error})") from None
        if told.status_code != 200:
            said = " ".join(told.text.split())[:300]
            raise SolonError(f"vLLM refuses the adapter {folder}: {said} (log: {self.log_path})")
        self.loaded.add(adapter)

    def gone(self) -> SolonError | None:
        """Why it is no longer there; None while it is."""
        code = self._process.poll() if self._process else 0
        if code is None:
            return None
        with self.log_path.open("rb") as log:
            log.seek(max(self._log_start, self.log_path.stat().st_size - (1 << 18)))
            said = last_words(log.read().decode("utf-8", "replace"))
        return SolonError(f"vLLM ended with exit code {code}: {said} (log: {self.log_path})")

    def _wait(self) -> None:
        started = said = time.monotonic()
        self._say(f"vLLM loads {self.folder.name}")
        while not self._is_healthy():
            if problem := self.gone():
                raise problem
            now = time.monotonic()
            if now - started > self.serving.start_s:
                told = f"vLLM is not ready after {self.serving.start_s:.0f} s"
                raise SolonError(f"{told}: raise vllm.start_s (log: {self.log_path})")
            if now - said > SAY_EVERY_S:
                said = now
                self._say(f"vLLM loads {self.folder.name}: {now - started:.0f} s")
            time.sleep(LOOK_EVERY_S)
        self._say(f"vLLM is ready after {time.monotonic() - started:.0f} s")

    def _is_healthy(self) -> bool:
        try:
            return self._send("GET", "/health", None, timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def _send(self, method: str, path: str, body: Any, timeout: float) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(headers=headers, timeout=timeout, trust_env=False) as client:
            return client.request(method, self.url + path, json=body)


def last_words(log: str) -> str:
    """The line of a log that says best why a program ended: its last error, else its last line.

    A line that only points to another one is passed over.
    """
    lines = [re.sub(r"^\([^)]*\)\s*", "", line).strip() for line in log.splitlines()]
    lines = [re.sub(r"^\w+ \d\d-\d\d [\d:]+ \[[^]]*\]\s*", "", line) for line in lines if line]
    errors = [line for line in lines if re.search(r"\b(\w*(Error|Exception)|error): \S", line)]
    causes = [line for line in errors if "root cause" not in line.lower()]
    found = causes or errors or lines or ["(the log is empty)"]
    return " ".join(found[-1].split())[:300]


def _free_port() -> int:
    """A port of the loopback that nobody listens on; whoever takes it meanwhile has not our key."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])
