"""Every command that Solon says is one that there is, with options that it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.commands import cli

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("flows", "storage", "tasks", "constitution")
SAID = re.compile(r"\bsolon ((?:[a-z][a-z-]*)(?:[^`\n;]*))")
AUTOMATIONS = ("alert:", "zombies")  # whose names begin with ours
COMMANDS: Any = typer.main.get_command(cli.app)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the program with a command in it, and where it is; an f-string as a whole."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (n.value if isinstance(n, ast.Constant) else " X" for n in node.values)
                    yield f"{path.name}:{node.lineno}", "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.name}:{node.lineno}", node.value
    for path in [*ROOT.glob("*/README.md"), ROOT / "README.md", *ROOT.glob("flows/*/README.md")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.parent.name}/README.md:{number}", line


def unknown(said: str) -> list[str]:
    """What a command line names that there is not: its command, or an option."""
    group, words = COMMANDS, said.split()
    if words[0] in AUTOMATIONS:
        return []
    while words and getattr(group, "commands", None):
        word = words.pop(0).strip(".,:()|'\"")
        if word not in group.commands:
            return [word]
        group = group.commands[word]
    known = {name for parameter in group.params for name in parameter.opts}
    return [option for option in OPTION.findall(" ".join(words)) if option not in known]


def test_every_command_that_is_said_is_there() -> None:
    wrong = {
        f"{where}: solon {said}": found
        for where, text in texts()
        for said in SAID.findall(text)
        if (found := unknown(said))
    }
    assert wrong == {}


@pytest.mark.parametrize("said", ["plann", "why --al x", "ref sett champion", "data"])
def test_what_there_is_not_is_found(said: str) -> None:
    assert bool(unknown(said)) is (said != "data")
