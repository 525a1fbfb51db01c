"""The command line. Every command has `--json`; errors are one line and exit code 2 or 1."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from constitution.errors import ConstitutionError
from flows.commands import (
    by_hand,
    data,
    exchange,
    explain,
    overview,
    project,
    refs,
    review,
    runs,
    serve,
    standard,
    take_along,
    try_out,
    words,
)
from flows.explain.compare.text import visible
from storage.errors import SolonError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"solon {version('solon')}")
        raise typer.Exit


@app.callback()
def _options(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Which Solon.")
    ] = False,
) -> None:
    """Turn a written constitution into an aligned language model, and keep the two in step."""


for family in (
    *(project, runs, overview, try_out, explain, exchange, by_hand, take_along, review),
    *(standard, serve),
):
    app.add_typer(family.app)
app.add_typer(data.app, name="data")
app.add_typer(refs.app, name="ref")
app.add_typer(words.app, name="constitution")


def main() -> NoReturn:
    """The entry point. After a flow the process ends at once: Prefect's threads hold on to objects
    at exit, which DuckDB's binding would report as leaks, forty lines long."""
    code = answer()
    if "prefect" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def answer() -> int:
    """Do what `sys.argv` asks, our errors one line on standard error; returns the exit code."""
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        return int(end.code or 0)
    except (SolonError, ConstitutionError) as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
