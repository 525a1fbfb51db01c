"""The command line. Every command has `--json`; errors are one line and exit code 2 or 1."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from constitution.errors import ConstitutionError
from flows.commands import (
    actions,
    by_hand,
    data,
    exchange,
    explain,
    integrity,
    keep,
    overview,
    project,
    refs,
    review,
    runs,
    serve,
    standard,
    take_along,
    try_out,
    usage,
    words,
)
from flows.commands.ran_out import ran_out
from flows.explain.compare.text import visible
from storage.errors import SolonError

app = typer.Typer(
    context_settings={"help_option_names": ["--help", "-h"]},
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
    """Turn a written constitution into an aligned language model, and keep the two in step.

    Begin with: solon init shop; cd shop; solon plan; solon run. Without a project, solon run is the
    demo.
    """


for family in (
    *(project, runs, overview, try_out, explain, exchange, by_hand, actions),
    *(take_along, review, standard, serve, integrity, keep),
):
    app.add_typer(family.app)
app.add_typer(data.app, name="data")
app.add_typer(refs.app, name="ref")
app.add_typer(words.app, name="constitution")


def main() -> NoReturn:
    """The entry point. After a flow the process ends at once: Prefect's threads hold on to objects
    at exit, which DuckDB's binding would report as leaks, forty lines long."""
    end_with_terminal()
    code = answer()
    if "prefect" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def end_with_terminal() -> None:
    """A terminal that is closed ends a command as SIGTERM does; under `nohup` it goes on."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def answer() -> int:
    """Do what `sys.argv` asks, our errors one line on standard error; returns the exit code."""
    try:
        return int(app(prog_name="solon", standalone_mode=False) or 0)
    except SystemExit as end:
        return int(end.code or 0)
    except typer.Abort:
        print("stopped", file=sys.stderr)
        return 1
    except typer.TyperException as error:
        if line := usage.said(error):
            print(f"error: {visible(line)}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        known = isinstance(error, SolonError | ConstitutionError | OSError)
        if not (said := ran_out(error)) and not known:
            raise
        print(f"error: {visible(said or _words(error))}", file=sys.stderr)
        return 1 if said else getattr(error, "exit_code", 1)


def _words(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)


if __name__ == "__main__":
    main()
