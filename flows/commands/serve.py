"""Serve the flows; find and mend what kills and crashes leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import JsonOption, err, none_yet, print_result
from flows.explain.compare.text import one_line
from storage.ids import short
from storage.workspace import Workspace

if TYPE_CHECKING:
    from flows.serve.findings import Examination

app = typer.Typer()
LINE_CHARS = 300
FixOption = Annotated[bool, typer.Option("--fix", help="Mend it, and say what was done.")]


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on this machine.")] = 4200,
) -> None:
    """Server, UI, worker and schedules of this workspace, until Ctrl-C."""
    from flows.serve.serving import serve_until_stopped

    serve_until_stopped(Workspace.open().create(), port, err)


@app.command()
def doctor(fix: FixOption = False, as_json: JsonOption = False) -> None:
    """Killed runs, orphaned workers, torn files, stale locks, leaked slots: find and mend them.

    Exit code 1 where something is found and not mended.
    """
    from flows.serve.doctor import examine

    seen = examine(Workspace.open(), fix)
    print_result(as_json, asdict(seen) | {"workspace": str(seen.workspace.root)}, _lines(seen))
    if not all(found.mended for found in seen.findings):
        raise typer.Exit(1)


def _lines(seen: Examination) -> Iterator[str]:
    beside = "; its GPU is asked when a worker starts" if seen.has_gpu else ""
    yield f"machine: {seen.machine}"
    yield f"compute: {seen.compute}{beside}"
    for found in seen.findings:
        line = f"{found.kind} {short(found.subject)}: {found.detail}; {found.done}"
        yield one_line(line, LINE_CHARS)
    for text in seen.skipped:
        yield f"not looked at: {one_line(text, LINE_CHARS)}"
    if not seen.findings:
        yield none_yet("nothing wrong in what was looked at" if seen.skipped else "healthy")
