"""Every setting of a recipe, told from the models themselves: type, range, default, meaning."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from flows.plan.sizes import PpoSizes
from storage.nearest import meant
from tasks.training.ppo.config import CHOICES, PPOConfig, config_from_settings
from tasks.training.ppo.config import RANGES as PPO_RANGES
from tasks.training.settings import (
    RANGES,
    DpoSettings,
    RewardSettings,
    SftSettings,
    StageSettings,
    parse_settings,
)

STAGE_SETTINGS: dict[str, type[StageSettings]] = {
    "sft": SftSettings,
    "reward": RewardSettings,
    "dpo": DpoSettings,
}
STAGES: dict[str, tuple[type, ...]] = {
    **{stage: (kind,) for stage, kind in STAGE_SETTINGS.items()},
    "ppo": (PpoSizes, PPOConfig),
}
REQUIRED = "(required)"
TYPES = {
    "integer": "whole number",
    "int": "whole number",
    "number": "number",
    "float": "number",
    "string": "text",
    "str": "text",
    "boolean": "true or false",
    "bool": "true or false",
    "null": "null",
    "None": "null",
    "object": "mapping",
    "array": "list",
    "tuple[int, ...]": "list of whole numbers",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One key of a recipe: `default` as JSON has it, `REQUIRED` where there is none."""

    key: str
    type: str
    range: str
    default: Any
    meaning: str


@cache
def settings_of(recipe: type[BaseModel]) -> dict[str, Setting]:
    """The settings of a recipe's model by key path, in the model's order."""
    schema = recipe.model_json_schema()
    found = _below(schema, "", schema.get("$defs", {}), schema)
    return {setting.key: setting for setting in found}


def filled(stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's settings, checked, with their defaults: keys and tasks see them all."""
    if stage in STAGE_SETTINGS:
        return dataclasses.asdict(parse_settings(STAGE_SETTINGS[stage], given))
    own = {
        field.name: given[field.name]
        for field in dataclasses.fields(PpoSizes)
        if field.name in given
    }
    sizes = dataclasses.asdict(PpoSizes(**own))
    of_worker = {k: v for k, v in given.items() if k != "draws" and (k, v) != ("updates", None)}
    return dataclasses.asdict(config_from_settings(of_worker)) | sizes


def unknown(key: str, known: Mapping[str, Setting]) -> str:
    """The fix for a key path that there is not: the key that is meant, else how to see them all."""
    last = key.rsplit(".", 1)[-1]
    same = [path for path in known if path.rsplit(".", 1)[-1] == last]
    fix = "see solon recipe for every key"
    if same:
        return f"did you mean {' or '.join(same[:3])}? Or {fix}"
    groups = {path.rsplit(".", 1)[0] for path in known if "." in path}
    return meant(key, [*known, *groups], fix)


def _below(
    schema: Mapping[str, Any], above: str, defs: Mapping[str, Any], owner: Mapping[str, Any]
) -> Iterator[Setting]:
    for name, given in owner["properties"].items():
        key, (parts, is_optional) = f"{above}{name}", _parts(given, defs)
        if key in STAGES:
            yield from _stage(key)
        elif len(parts) == 1 and "properties" in parts[0]:
            yield from _below(schema, f"{key}.", defs, parts[0])
        else:
            default = given.get("default", REQUIRED)
            meaning = given.get("description", "")
            of = [*(_type(part) for part in parts), *(["null"] if is_optional else [])]
            limits = ", ".join(filter(None, map(_range, parts)))
            yield Setting(key, " or ".join(of), limits, default, meaning)


def _parts(
    given: Mapping[str, Any], defs: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], bool]:
    """What a property may be, references followed; whether null as well."""
    options = list(_options(given, defs))
    found = [part for part in options if part.get("type") != "null"]
    return found, len(found) < len(options)


def _options(given: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = given.get("anyOf") or given.get("oneOf")
    if choices is None:
        yield _followed(given, defs)
    for choice in choices or ():
        yield from _options(choice, defs)


def _followed(part: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref", "").rsplit("/", 1)[-1]
    return defs[reference] if reference else part


def _type(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return " | ".join(map(str, part["enum"]))
    return TYPES.get(str(part.get("type")), "any")


def _range(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{word} {part[name]}" for name, word in LIMITS.items() if name in part)


def _stage(stage: str) -> Iterator[Setting]:
    """The fields of a stage's settings; where two classes have one, the first counts."""
    seen: set[str] = set()
    for kind in STAGES[stage]:
        meanings = docstrings(kind)
        for field in dataclasses.fields(kind):
            if field.name not in seen:
                seen.add(field.name)
                meaning, default = meanings[field.name], field.default
                limits = ranges(stage).get(field.name, "")
                yield Setting(f"{stage}.{field.name}", _of_field(field), limits, default, meaning)


def ranges(stage: str) -> dict[str, str]:
    """What a stage's settings may be, by name, where there is a bound."""
    if stage != "ppo":
        return {name: allowed.words for name, allowed in RANGES.items()}
    own = {name: allowed.words for name, allowed in PPO_RANGES.items()}
    return own | {"draws": "at least 1", "critic_warmup": "at least 0, below updates"}


def _of_field(field: dataclasses.Field[Any]) -> str:
    written = str(field.type)
    choices = CHOICES.get(field.name)
    if choices is None and written.startswith("Literal["):
        choices = ast.literal_eval(written.removeprefix("Literal"))
    if choices is not None:
        return " | ".join(choices)
    return " or ".join(TYPES.get(part, part) for part in written.split(" | "))


@cache
def docstrings(kind: type) -> dict[str, str]:
    """The sentence under every field of a dataclass, those it inherits among them."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                name, text = ast.unparse(field.target), ast.literal_eval(below.value)
                found[name] = " ".join(str(text).split())
            elif isinstance(field, ast.AnnAssign):
                found.setdefault(ast.unparse(field.target), "")
    return found
