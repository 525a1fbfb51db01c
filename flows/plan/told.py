"""The settings of one recipe: each with its value and where that comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from flows.plan.recipe import load, settings
from flows.plan.recipe_file import names, read
from flows.plan.settings import REQUIRED, Setting, unknown
from storage.errors import InputError

DEFAULT = "default"


@dataclasses.dataclass(frozen=True)
class Told(Setting):
    """A setting with the value it has. `source`: default, --set, or the recipe's file and line."""

    value: Any
    source: str

    @property
    def is_required(self) -> bool:
        return bool(self.default == REQUIRED)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def told(recipe: str, overrides: Mapping[str, Any], key: str | None) -> list[Told]:
    """The settings of a recipe, those of `key` or below it where one is given.

    Raises InputError for a bad recipe, and for a key that no recipe has.
    """
    file, values = read(recipe), load(recipe, overrides).model_dump(mode="json")
    known = settings()
    chosen = [name for name in known if key is None or f"{name}.".startswith(f"{key}.")]
    if key in names():
        raise InputError(str(key), "this is a recipe", f"use --recipe {key}", "KEY")
    if not chosen:
        raise InputError(str(key), "no recipe has this key", unknown(str(key), known), "KEY")
    found = []
    for name in chosen:
        source = _source(name, file.where, file.lines, overrides)
        found.append(Told(**vars(known[name]), value=_value(values, name), source=source))
    return found


def _source(key: str, where: str, lines: Mapping[str, int], overrides: Mapping[str, Any]) -> str:
    """The nearest that says it: the key itself, else the mapping it stands in."""
    parts = key.split(".")
    above = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    if any(path in overrides for path in above) or any(o.startswith(f"{key}.") for o in overrides):
        return "--set"
    if key in lines:
        return f"{where}:{lines[key]}"
    is_short = "prompts" in lines and not any(path.startswith("prompts.") for path in lines)
    return f"{where}:{lines['prompts']}" if key == "prompts.path" and is_short else DEFAULT


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
