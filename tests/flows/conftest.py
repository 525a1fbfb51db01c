"""A workspace of one's own, and the installed command run in it as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.commands import cli
from tests.once import Once

from .prefect_db import seed

# What a shell runs in its background is deaf to Ctrl-C, and so would be all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 300  # a wait of so long has hung
SERVE = """
import json, os, sys
from flows.serve import server
from storage.workspace import Workspace

with server.running(Workspace.open().create()):
    print(json.dumps({k: v for k, v in os.environ.items() if k.startswith("PREFECT_")}), flush=True)
    sys.stdin.read()
"""


def until(reached: Callable[[], Any], what: str) -> Any:
    """The first true value of `reached`. Machines differ: the limit only ends what would hang."""
    deadline = time.monotonic() + HANG_S
    while not (found := reached()):
        assert time.monotonic() < deadline, f"{what}: not within {HANG_S} s"
        time.sleep(0.1)
    return found


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """A command's exit code and standard error, answered in this process."""

    def answer(command: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["solon", *command.split()])
        return cli.answer(), capsys.readouterr().err

    return answer


class Solon:
    """Runs the command line in one workspace."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.env.pop("PREFECT_API_URL", None)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "flows.commands.cli", *arguments]
        return subprocess.Popen(
            command,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(
        self, *arguments: str, code: int = 0, hang_s: float = 400, **options: Any
    ) -> tuple[str, str]:
        """(standard output, standard error) of a command that ends with `code`."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=hang_s)
        assert process.returncode == code, f"{process.returncode}: {out}\n{err}"
        return out, err

    def json(self, *arguments: str, hang_s: float = 400) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json", hang_s=hang_s)[0])
        return found

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A Prefect server for all commands of the block, where each would start one: it is named
        to them as a user names one. Four seconds a command; `test_smoke.py` begins without.
        """
        seed(self.home)
        command, before = [sys.executable, "-P", "-c", SERVE], self.env
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env=self.env, text=True, **pipes) as process:
            assert process.stdin
            assert process.stdout
            self.env = before | json.loads(process.stdout.readline())
            try:
                yield
            finally:
                self.env = before
                process.stdin.close()
                assert process.wait(HANG_S) == 0


@pytest.fixture
def solon(tmp_path: Path) -> Solon:
    return Solon(tmp_path / "home")


@pytest.fixture(scope="session")
def smoke(once: Once) -> Path:
    """A folder with the workspace `home` of a smoke run that began with nothing, and the run's
    result.json. Who opens the workspace copies it.
    """

    def make(folder: Path) -> None:
        result = Solon(folder / "home").json("run", "--recipe", "smoke")
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")

    return once("smoke", make)


@pytest.fixture
def copy_of_constitution(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write the default constitution with one piece of text replaced; returns the file."""

    def write(old: str = "", new: str = "") -> Path:
        text = (ROOT / "constitution" / "default.yaml").read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return path

    return write
