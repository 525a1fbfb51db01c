"""Find and mend what kills and crashes leave behind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.commands.options import JsonOption, print_json, print_lines
from flows.explain.compare.text import one_line
from storage.workspace import Workspace

LINE_CHARS = 300
FixOption = Annotated[bool, typer.Option("--fix", help="Mend it, and say what was done.")]


def doctor(fix: FixOption = False, as_json: JsonOption = False) -> None:
    """Killed runs, orphaned workers, torn files, stale locks, leaked slots: find and mend them.

    Exit code 1 where something is found and not mended.
    """
    from flows.serve.doctor import examine

    seen = examine(Workspace.open(), fix)
    if as_json:
        print_json(asdict(seen) | {"workspace": str(seen.workspace.root)})
    else:
        beside = "; its GPU is asked when a worker starts" if seen.has_gpu else ""
        print_lines([f"machine: {seen.machine}", f"compute: {seen.compute}{beside}"])
        print_lines(
            one_line(f"{f.kind} {f.subject}: {f.detail}; {f.done}", LINE_CHARS)
            for f in seen.findings
        )
        print_lines(f"not looked at: {one_line(text, LINE_CHARS)}" for text in seen.skipped)
        if not seen.findings:
            print_lines(["healthy"])
    if not all(found.mended for found in seen.findings):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    app.command()(doctor)
