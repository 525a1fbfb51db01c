"""Check and show a constitution file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from constitution.lint import lint as lint_constitution
from constitution.load import load, resolve
from constitution.schema import Constitution, Principle
from flows.commands.options import JsonOption, err, print_result
from flows.explain.compare.text import one_line, visible

app = typer.Typer(no_args_is_help=True, help="Check and show a constitution file.")
LINE_CHARS = 2000
FileArgument = Annotated[str, typer.Argument(help="A name in constitution/ or a file.")]
PromptsOption = Annotated[
    str, typer.Option("--prompts", help="The prompts whose categories count: a file, or default.")
]


@app.command()
def lint(
    path: FileArgument = "default",
    prompts: PromptsOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Every fault of a constitution file: file:line, value, rule, fix. Exit code 2 for errors."""
    with err.status("reading prompts"):
        categories = _categories(prompts)
    file = resolve(path)
    findings = lint_constitution(file, categories)
    lines = [visible(str(finding)) for finding in findings] or [_good(file, categories)]
    print_result(as_json, {"findings": [vars(finding) for finding in findings]}, lines)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


def _good(file: Path, categories: set[str | None]) -> str:
    """What was read of a file without a fault."""
    read = load(file)
    on = sum(principle.enabled for principle in read.principles)
    checked = sum(principle.check is not None for principle in read.principles)
    named = len(categories - {None})
    said = f"{on} principles, {checked} of them checked by a program; {named} categories of prompts"
    return f"{one_line(str(file), LINE_CHARS)}: nothing to mend ({said})"


def _categories(source: str) -> set[str | None]:
    """The categories of the prompts; None stands for prompts without one."""
    from tasks.prompts import UNSPECIFIED, read_prompts

    found = {prompt.category for prompt in read_prompts(source).prompts}
    return {None if category == UNSPECIFIED else category for category in found}


@app.command("show")
def show_constitution(
    path: FileArgument = "default",
    as_json: JsonOption = False,
) -> None:
    """The principles in order, with weight, categories, check, examples, and the rounds."""
    constitution = load(resolve(path))
    title = Text(one_line(f"{constitution.name} {constitution.version}", LINE_CHARS), "bold")
    lines = [*_policy(constitution), *(_described(p) for p in constitution.principles)]
    shown: list[RenderableType] = [title, *(one_line(line, LINE_CHARS) for line in lines)]
    print_result(as_json, asdict(constitution), shown)


def _policy(constitution: Constitution) -> list[str]:
    """One line for each listed round, and one for those past the list."""
    if not constitution.rounds:
        return []
    lines = [f"round {n}: {', '.join(t) or 'any'}" for n, t in enumerate(constitution.rounds)]
    return [*lines, f"round {len(lines)} and later: any"]


def _described(principle: Principle) -> str:
    parts = [f"weight {principle.weight:g}"]
    if principle.applies_to:
        parts.append(f"applies to {', '.join(principle.applies_to)}")
    if principle.check is not None:
        name, parameter = principle.check
        parts.append(f"check {name}" + ("" if parameter is True else f" {parameter}"))
    if principle.examples:
        parts.append(f"examples {len(principle.examples)}")
    state = "" if principle.enabled else " (disabled)"
    tags = ", ".join(principle.tags)
    return f"{principle.slug}{state} [{tags}]: {principle.title} ({'; '.join(parts)})"
