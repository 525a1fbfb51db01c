"""Standard tasks (ARC, HellaSwag, …) on a checkpoint or the base, by lm-eval."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from flows.commands.by_hand import NameArgument, clean_end, named, subjects
from flows.commands.options import JsonOption, WhoseOption, err, print_result
from flows.explain.compare.text import visible
from flows.explain.show import table
from storage.errors import InputError

if TYPE_CHECKING:
    from flows.run.standard import Measured
    from tasks.standard.figures import Figure

app = typer.Typer()
COLUMNS = ("task", "metric", "value", "95 % interval", "n", "examples shown")


@app.command()
def standard(
    id: NameArgument,
    tasks: Annotated[
        str, typer.Option("--tasks", help="Their names, with commas: arc_easy,hellaswag.")
    ],
    include: Annotated[
        Path | None, typer.Option("--include", help="A folder with tasks of your own.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many of a task.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="As a conversation, not as raw text.")
    ] = False,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Standard tasks by lm-eval: figures with 95 % intervals, kept in the ledger."""
    from tasks.standard.harness import check_installed, load_tasks

    check_installed()
    names = list(dict.fromkeys(filter(None, map(str.strip, tasks.split(",")))))
    if not names:
        raise InputError(tasks, "it names no task", "give names as arc_easy,hellaswag", "--tasks")
    with clean_end(), err.status("reading the tasks") as status:
        workspace, book, (model,) = subjects(recipe, id)
        from flows.run.standard import measure

        loaded = load_tasks(names, include)
        found = measure(model, loaded, book, workspace, status.update, limit=limit, is_chat=chat)
    value = {"model": named(model), "is_chat": chat, "limit": limit, **asdict(found)}
    print_result(as_json, value, [_table(model.label, found), *_notes(found)])


def _table(label: str, found: Measured) -> Table:
    return table(f"standard tasks: {label}", COLUMNS, map(_row, found.figures), left=2)


def _row(figure: Figure) -> tuple[str, ...]:
    spread = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
    numbers = f"{figure.value:.3f}", spread, str(figure.n), str(figure.shots)
    return visible(figure.task), visible(figure.metric), *numbers


def _notes(found: Measured) -> list[Any]:
    said = [f"{found.requests} questions, {found.reused} of them answered before"]
    if found.refused:
        said.append(f"{found.refused} did not fit the model's context: they count as empty answers")
    return said
