"""Check and show a constitution file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from constitution.lint import lint as lint_constitution
from constitution.load import load, resolve
from flows.commands.options import JsonOption, out, print_json

FileArgument = Annotated[str, typer.Argument(help="A name in constitution/ or a file.")]


def lint(
    path: FileArgument = "default",
    as_json: JsonOption = False,
) -> None:
    """Every fault of a constitution file: file:line, value, rule, fix. Exit code 2 for errors."""
    findings = lint_constitution(resolve(path))
    if as_json:
        print_json({"findings": [vars(f) for f in findings]})
    for finding in findings if not as_json else []:
        out.print(
            f"{finding.level}: {finding.where}: {finding.message}", markup=False, highlight=False
        )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)
    if not as_json and not findings:
        out.print("nothing to mend")


def show_constitution(
    path: FileArgument = "default",
    as_json: JsonOption = False,
) -> None:
    """The principles in order."""
    constitution = load(resolve(path))
    if as_json:
        print_json(asdict(constitution))
        return
    out.print(f"{constitution.name} {constitution.version}".strip(), style="bold", markup=False)
    for principle in constitution.principles:
        state = "" if principle.enabled else " (disabled)"
        tags = ", ".join(principle.tags)
        out.print(
            f"{principle.slug}{state} [{tags}]: {principle.title}", markup=False, highlight=False
        )


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Check and show a constitution file.")
    group.command()(lint)
    group.command("show")(show_constitution)
    app.add_typer(group, name="constitution")
