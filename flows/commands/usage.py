"""What is typed that no command takes: one line, with what was probably meant."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

import typer

from flows.plan.recipe_file import names
from flows.plan.steps import STEPS
from storage.errors import InputError
from storage.nearest import meant, nearest

# What Typer says of a word; it keeps the word nowhere else.
TOO_MANY = re.compile(r"extra argument\(s\) \((?P<word>\S*).*\)$", re.DOTALL)
NO_COMMAND = re.compile(r"No such command '(?P<word>.*?)'\.", re.DOTALL)
NO_OPTION = re.compile(r"No such option: (?P<word>\S+)$")


def said(error: typer.TyperException) -> str:
    """The line for what Typer found wrong; empty where it has printed the help instead."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else _typed()
    see = f"see {path} --help"
    if found := TOO_MANY.search(error.message):
        fix = _as_option(found["word"], _options(context), see)
        return str(InputError(found["word"], f"one argument too many for {path}", fix))
    if found := NO_COMMAND.search(error.message):
        fix = meant(found["word"], context.command.commands, see)
        return str(InputError(found["word"], f"{path} has no such command", fix))
    if found := NO_OPTION.search(error.message):
        fix = meant(found["word"], _options(context), see)
        return str(InputError(found["word"], f"{path} has no such option", fix))
    text = error.format_message().strip().rstrip(".")
    return f"{path}: {text[:1].lower()}{text[1:]}; {see}" if text else ""


def _typed() -> str:
    """The command, where Typer forgets it: of an option without its value."""
    word = next(iter(sys.argv[1:]), "-")
    return "solon" if word.startswith("-") else f"solon {word}"


def _options(context: Any) -> list[str]:
    return [name for option in context.command.params for name in option.opts if name[0] == "-"]


def _as_option(word: str, options: list[str], fix: str) -> str:
    """A recipe, a step or a setting that stands where the name of its option is missing."""
    named = {step: "--until" for step in STEPS} | dict.fromkeys(names(), "--recipe")
    if word.endswith((".yaml", ".yml")):
        named[word] = "--recipe"
    if "=" in word:
        named[word] = "--set"
    found = nearest(word, (name for name, option in named.items() if option in options))
    return f"did you mean {named[found]} {shlex.quote(found)}? Or {fix}" if found else fix
