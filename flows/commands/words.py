"""Check and show a constitution file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from constitution.lint import lint as lint_constitution
from constitution.load import load, resolve
from constitution.schema import Constitution, Principle
from flows.commands.options import JsonOption, err, out, print_json, print_lines
from flows.explain.compare.text import one_line, visible

LINE_CHARS = 2000
FileArgument = Annotated[str, typer.Argument(help="A name in constitution/ or a file.")]
PromptsOption = Annotated[
    str, typer.Option("--prompts", help="The prompts whose categories count: a file, or default.")
]


def lint(
    path: FileArgument = "default",
    prompts: PromptsOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Every fault of a constitution file: file:line, value, rule, fix. Exit code 2 for errors."""
    with err.status("reading prompts"):
        categories = _categories(prompts)
    findings = lint_constitution(resolve(path), categories)
    if as_json:
        print_json({"findings": [vars(f) for f in findings]})
    else:
        lines = [visible(str(finding)) for finding in findings]
        print_lines(lines or ["nothing to mend"])
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


def _categories(source: str) -> set[str | None]:
    """The categories of the prompts; None stands for prompts without one."""
    from tasks.prompts import UNSPECIFIED, read_prompts

    found = {prompt.category for prompt in read_prompts(source).prompts}
    return {None if category == UNSPECIFIED else category for category in found}


def show_constitution(
    path: FileArgument = "default",
    as_json: JsonOption = False,
) -> None:
    """The principles in order, with weight, categories and check, and the rounds' policy."""
    constitution = load(resolve(path))
    if as_json:
        print_json(asdict(constitution))
        return
    out.print(
        one_line(f"{constitution.name} {constitution.version}", LINE_CHARS),
        style="bold",
        markup=False,
        highlight=False,
    )
    lines = [*_policy(constitution), *(_described(p) for p in constitution.principles)]
    print_lines(one_line(line, LINE_CHARS) for line in lines)


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
    state = "" if principle.enabled else " (disabled)"
    tags = ", ".join(principle.tags)
    return f"{principle.slug}{state} [{tags}]: {principle.title} ({'; '.join(parts)})"


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Check and show a constitution file.")
    group.command()(lint)
    group.command("show")(show_constitution)
    app.add_typer(group, name="constitution")
