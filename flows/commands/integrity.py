"""Whether the workspace is what was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import JsonOption, err, ledger, none_yet, print_result
from flows.explain.compare.text import one_line
from storage.ids import short
from storage.workspace import Workspace

if TYPE_CHECKING:
    from tasks.integrity.faults import Looked

app = typer.Typer()
LINE_CHARS = 300


@app.command()
def verify(
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Only so many rows a table, artifacts and models."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Every hash, every id from its row, every key between rows, every file: are they as written?

    Reads only; works beside a run. Exit code 1 where something is not, a line for each.
    """
    from flows.run.console import BarProgress
    from tasks.integrity.verify import verify

    bar = BarProgress(err)
    try:
        looked = verify(Workspace.open(), ledger(), sample, bar)
    finally:
        bar.close()
    print_result(as_json, asdict(looked) | {"is_whole": not looked.faults}, _lines(looked))
    if looked.faults:
        raise typer.Exit(1)


def _lines(looked: Looked) -> Iterator[str]:
    for found in looked.faults:
        line = f"{short(found.subject)}: {found.rule}; {found.repair}"
        yield one_line(line, LINE_CHARS)
    for text in looked.skipped:
        yield f"not looked at: {one_line(text, LINE_CHARS)}"
    counted = ", ".join(f"{number} {what}" for what, number in looked.counts.items() if number)
    total = sum(looked.counts.values())
    if looked.faults:
        yield f"{len(looked.faults)} of {total} wrong ({counted})"
    else:
        yield (
            f"all {total} verified ({counted})"
            if total
            else none_yet("there is nothing to verify yet")
        )
