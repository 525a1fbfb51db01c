"""The command line. Every command has `--json`; errors are one line and exit code 2 or 1."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from constitution.errors import ConstitutionError
from constitution.lint import lint as lint_constitution
from constitution.load import load as load_constitution
from constitution.load import resolve
from flows import recipe as recipes
from flows import show
from flows.running import make_plan, nothing_done, open_ledger, run_flow
from storage.errors import InputError, SolonError
from storage.ledger import Ledger
from storage.lineage import trace
from storage.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a written constitution into an aligned language model, and keep the two in step.",
)
constitution_app = typer.Typer(no_args_is_help=True, help="Check and show a constitution file.")
app.add_typer(constitution_app, name="constitution")

out = Console(soft_wrap=True)
err = Console(stderr=True)

RecipeOption = Annotated[str, typer.Option("--recipe", help="A recipe's name or a .yaml file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One value of the recipe: key.path=value.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", help=f"Stop after: {', '.join(recipes.STEPS)}.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.command()
def run(
    recipe: RecipeOption = "demo",
    set_: SetOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole method: generate what is missing, train what that reaches, measure, report."""
    _run("align", recipe, set_, until, as_json)


@app.command()
def refresh(
    recipe: RecipeOption = "demo", set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Drafts, critiques, revisions and pairs; trains nothing."""
    _run("refresh", recipe, set_, "pairs", as_json)


@app.command()
def train(
    recipe: RecipeOption = "demo",
    set_: SetOption = None,
    until: Annotated[
        str, typer.Option("--until", help=f"Stop after: {', '.join(recipes.STAGES)}.")
    ] = "ppo",
    as_json: JsonOption = False,
) -> None:
    """SFT, reward model, DPO and PPO on rows that are there."""
    if until not in recipes.STAGES:
        stages = ", ".join(recipes.STAGES)
        raise InputError(until, "this is no stage of training", f"use {stages}", "--until")
    _run("train", recipe, set_, until, as_json)


@app.command()
def evaluate(
    recipe: RecipeOption = "demo", set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Measure checkpoints that are there on the held-out prompts."""
    _run("evaluate", recipe, set_, None, as_json)


@app.command()
def plan(
    recipe: RecipeOption = "demo",
    set_: SetOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would reuse, generate and train, and what it would cost. Writes nothing."""
    made, _ = make_plan(recipe, recipes.parse_overrides(set_ or []), _step(until))
    if as_json:
        _print_json(made.to_json())
        return
    out.print(show.plan_table(made))
    for line in show.plan_lines(made):
        out.print(line, markup=False, highlight=False)


@app.command()
def why(
    id: Annotated[str, typer.Argument(help="An id, the start of one, or a ref as latest/ppo.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Everything a row or checkpoint was made from."""
    _trace(id, "up", mermaid, as_json)


@app.command()
def impact(
    id: Annotated[str, typer.Argument(help="An id, a ref, or a principle's slug.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every row and checkpoint that something reached."""
    _trace(id, "down", mermaid, as_json)


@app.command()
def export(
    snapshot: Annotated[str, typer.Argument(help="A dataset id or latest/preferences-rows.")],
    to: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    format: Annotated[str, typer.Option("--format", help="trl, hh, parquet or hf.")] = "trl",
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot's rows for other tools, with a card filled from its lineage."""
    from flows.export import export_snapshot

    result = export_snapshot(_ledger(), snapshot, format, to)
    if as_json:
        _print_json(result)
    else:
        out.print(f"{result['rows']} rows, {result['held_out']} held out: {to}", highlight=False)


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on this machine.")] = 4200,
) -> None:
    """Prefect's server and UI with this workspace's flows, until Ctrl-C."""
    from flows.serve import serve_until_stopped

    serve_until_stopped(Workspace.open().create(), port, err)


@constitution_app.command()
def lint(
    path: Annotated[str, typer.Argument(help="A name in constitution/ or a file.")] = "default",
    as_json: JsonOption = False,
) -> None:
    """Every fault of a constitution file: file:line, value, rule, fix. Exit code 2 for errors."""
    findings = lint_constitution(resolve(path))
    if as_json:
        _print_json({"findings": [vars(f) for f in findings]})
    for finding in findings if not as_json else []:
        out.print(
            f"{finding.level}: {finding.where}: {finding.message}", markup=False, highlight=False
        )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)
    if not as_json and not findings:
        out.print("nothing to mend")


@constitution_app.command("show")
def show_constitution(
    path: Annotated[str, typer.Argument(help="A name in constitution/ or a file.")] = "default",
    as_json: JsonOption = False,
) -> None:
    """The principles in order."""
    from dataclasses import asdict

    constitution = load_constitution(resolve(path))
    if as_json:
        _print_json(asdict(constitution))
        return
    out.print(f"{constitution.name} {constitution.version}".strip(), style="bold", markup=False)
    for principle in constitution.principles:
        state = "" if principle.enabled else " (disabled)"
        tags = ", ".join(principle.tags)
        out.print(
            f"{principle.slug}{state} [{tags}]: {principle.title}", markup=False, highlight=False
        )


def _run(
    flow: Literal["align", "refresh", "train", "evaluate"],
    recipe: str,
    set_: list[str] | None,
    until: str | None,
    as_json: bool,
) -> None:
    started = time.monotonic()
    overrides, step = recipes.parse_overrides(set_ or []), _step(until)
    made, inputs = make_plan(recipe, overrides, step)
    workspace = Workspace.open()
    if made.is_empty:
        result = nothing_done(made, inputs, workspace)
        err.print("nothing to do: every row and checkpoint is there")
    else:
        result = run_flow(flow, recipe, overrides, step, workspace, err)
    if as_json:
        _print_json(result)
        return
    out.print(show.run_table(result))
    for line in show.run_lines(result):
        out.print(line, markup=False, highlight=False)
    out.print(f"{time.monotonic() - started:.0f} s", highlight=False)


def _trace(name: str, direction: Literal["up", "down"], mermaid: bool, as_json: bool) -> None:
    found = trace(_ledger(), name, direction)
    if as_json:
        _print_json(found)
    elif mermaid:
        print(show.mermaid(found))
    else:
        for line in show.lineage_lines(found, direction):
            out.print(line, markup=False, highlight=False)


def _ledger() -> Ledger:
    return open_ledger(Workspace.open())


def _step(until: str | None) -> recipes.Step | None:
    for step in recipes.STEPS:
        if until == step:
            return step
    if until is not None:
        raise InputError(
            until, "no step has this name", f"use {', '.join(recipes.STEPS)}", "--until"
        )
    return None


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def main() -> NoReturn:
    """The entry point: Typer's app, with our errors as one line on standard error."""
    code = 0
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        code = int(end.code or 0)
    except (SolonError, ConstitutionError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        code = 1
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process. After a flow at once: Prefect's threads hold on to objects at exit, which
    DuckDB's binding would report as leaks, forty lines long."""
    if "prefect" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
