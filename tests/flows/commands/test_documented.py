"""Every command stands in the table of commands, with what it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from flows.commands import cli

README = Path(cli.__file__).with_name("README.md")


def commands(group: object, name: str = "solon") -> Iterator[str]:
    found = getattr(group, "commands", None)
    if found is None:
        yield name
        return
    for part, below in found.items():
        yield from commands(below, f"{name} {part}")


def test_every_command_is_documented() -> None:
    rows = [line.split(" | ", 1) for line in README.read_text().splitlines() if "| `" in line]
    told = {first: rest for first, rest in rows}
    missing = [
        name
        for name in commands(typer.main.get_command(cli.app))
        if not any(f"`{name}`" in f or f"`{name} " in f for f in told)
    ]
    assert missing == []
    assert all(len(rest) > 10 for rest in told.values())
