"""Bad input: one clear line on standard error, exit code 2, and nothing written."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flows.commands import cli
from storage.ledger import Ledger, point

PRINCIPLE = """  - slug: {slug}
    critique: Name a fault.
    revision: Mend it.
    comparison: Which?
"""


def constitution(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return ["--set", f"constitution={path}"]


def prompts(tmp_path: Path, name: str, content: bytes | None) -> list[str]:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    return ["--set", f"prompts.path={path}"]


def directory(tmp_path: Path) -> list[str]:
    (tmp_path / "folder").mkdir()
    return ["--set", f"prompts.path={tmp_path / 'folder'}"]


HEAD = "name: mine\nprinciples:\n"
ONE = HEAD + PRINCIPLE.format(slug="one")
HALF_GZIP = gzip.compress(json.dumps({"prompt": "x" * 5000}).encode() * 20)[:60]

CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "duplicate slug": (lambda p: constitution(p, ONE + PRINCIPLE.format(slug="one")), "c.yaml:7"),
    "unknown key": (lambda p: constitution(p, ONE + "    colour: red\n"), "colour"),
    "missing request": (
        lambda p: constitution(p, HEAD + "  - slug: one\n    critique: x\n"),
        "c.yaml:3",
    ),
    "tab": (lambda p: constitution(p, HEAD + "\t- slug: one\n"), "c.yaml:3"),
    "2 MB": (lambda p: constitution(p, ONE + "#" * 2_000_000), "c.yaml"),
    "empty list": (lambda p: constitution(p, "name: mine\nprinciples: []\n"), "c.yaml:2"),
    "no such constitution": (lambda p: ["--set", "constitution=nothing"], "nothing"),
    "prompts missing": (lambda p: prompts(p, "none.jsonl", None), "none.jsonl"),
    "prompts empty": (lambda p: prompts(p, "empty.jsonl", b""), "empty.jsonl"),
    "prompts directory": (directory, "folder"),
    "prompts binary": (lambda p: prompts(p, "b.jsonl", bytes(range(256)) * 40), "b.jsonl"),
    "prompts half a gzip": (lambda p: prompts(p, "h.jsonl.gz", HALF_GZIP), "h.jsonl.gz"),
    "unknown recipe": (lambda p: ["--recipe", "nothing"], "nothing"),
    "unknown key of --set": (lambda p: ["--set", "prompts.limits=3"], "prompts.limits"),
    "wrong type of --set": (lambda p: ["--set", "prompts.limit=many"], "prompts.limit"),
    "no such floor": (lambda p: ["--set", "judge.floor={right: 0.9}"], "judge.floor.right"),
    "a floor without a name": (lambda p: ["--set", "judge.floor=0.9"], "judge.floor={key: value}"),
    "a floor above all": (
        lambda p: ["--set", "judge.floor.accuracy=90"],
        "less than or equal to 1",
    ),
    "no value of --set": (lambda p: ["--set", "prompts.limit"], "key.path=value"),
    "a terminal's escape": (lambda p: ["--set", "prompts.\x1b[2Jx=3"], "prompts.␛[2Jx"),
    "a model of 5,000 letters": (
        lambda p: ["--set", f"model={'x' * 5000}"],
        "at most 1024 letters",
    ),
    "unknown step": (lambda p: ["--until", "lunch"], "lunch"),
    "no such folder of a model": (lambda p: ["--set", "model=./nothing"], "nothing"),
    "no such package": (lambda p: ["--set", "model=package:nothing/x.gguf"], "not installed"),
    "no such checkpoint": (lambda p: ["--set", "model=checkpoint:latest/ppo"], "latest/ppo"),
    "no kind of model": (lambda p: ["--set", "model=what is this"], "not a model reference"),
    "nothing held out": (lambda p: ["--set", "prompts.limit=1"], "held out"),
    "no principle for a category": (
        lambda p: constitution(p, ONE + "    applies_to: [nothing]\n"),
        "applies to this category",
    ),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    point(Ledger(home / "ledger.duckdb"), "champion", "ckp_x")
    monkeypatch.setenv("SOLON_HOME", str(home))
    return home


def contents(home: Path) -> dict[str, str]:
    files = [p for p in home.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_2(
    case: str,
    command: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, words = CASES[case]
    given = arguments(tmp_path)
    recipe = [] if "--recipe" in given else ["--recipe", "smoke"]
    before = contents(home)
    monkeypatch.setattr("sys.argv", ["solon", command, *recipe, *given])
    assert cli.answer() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert words in err
    assert len(err) < 500
    assert contents(home) == before


COMMANDS: list[str] = list(get_command(cli.app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(command: str) -> None:
    result: Any = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 5
    readme = (Path(cli.__file__).resolve().parent / "README.md").read_text(encoding="utf-8")
    assert f"solon {command}" in readme
