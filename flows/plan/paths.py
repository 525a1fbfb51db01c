"""Whether the files that a recipe names are there, said before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.plan.recipe_file import is_path, own_names
from storage.errors import InputError
from storage.nearest import meant

COUNT = "give its path: from the recipe's folder in a recipe, from the current one with --set"


def check_files(named: Mapping[str, Sequence[str | None]]) -> None:
    """Raise InputError for the first file that is not there, of those that each key names: where it
    was looked for, and the one that is meant."""
    for key, values in named.items():
        for value in filter(None, values):
            _check(key, value)


def _check(key: str, value: str) -> None:
    if ":" in value or value in own_names(key):
        return
    path = Path(value).expanduser()
    try:
        if path.exists():
            return
    except OSError:
        return  # whoever reads it says what is wrong
    raise missing(value, key, COUNT)


def missing(value: str | Path, key: str, fix: str) -> InputError:
    """The error about a file that is not there: where it was looked for, the one that is meant."""
    path, own = Path(value).expanduser().absolute(), own_names(key)
    try:
        there = [other.name for other in path.parent.iterdir()]
    except OSError:
        there = []
    rule = f"no such file in {path.parent}"
    if own and not is_path(key, str(value)):
        rule = f"no file in {path.parent}, and none of {', '.join(own)}"
    return InputError(value, rule, meant(path.name, [*there, *own], fix), key)
