"""Recipes: what a run is made of. YAML files, validated, unknown keys refused: those that ship, in
`flows/recipes/`, those of a workspace, in its `recipes/`, and any other by its path.

A recipe never enters a task: tasks take plain arguments. Single values are overridden with
`--set key.path=value` and by the fields of a flow's form in the UI.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from flows.plan.evaluation_parts import EvaluationSettings, GateSettings
from flows.plan.parts import (
    REFERENCE,
    SERVER,
    BudgetSettings,
    GenerationSettings,
    JudgeSettings,
    PairSettings,
    Part,
    PromptSettings,
    RoleSettings,
    ServerSettings,
    SnapshotSettings,
    VllmSettings,
)
from flows.plan.steps import STAGES
from flows.plan.yaml_lines import line_of
from storage.errors import InputError, SolonError
from storage.workspace import Workspace
from tasks.generation.method import ROLES
from tasks.training.ppo.config import config_from_settings
from tasks.training.settings import (
    DpoSettings,
    RewardSettings,
    SftSettings,
    StageSettings,
    parse_settings,
)

RECIPES = importlib.resources.files("flows") / "recipes"
MAX_BYTES = 1 << 20

SETTINGS: dict[str, type[StageSettings]] = {
    "sft": SftSettings,
    "reward": RewardSettings,
    "dpo": DpoSettings,
}


class Recipe(Part):
    """One whole run."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**31)
    constitution: str = Field("default", description="A name in constitution/ or a file's path")
    model: str = Field(min_length=1, description="Model reference")
    quantization: Literal["nf4", "none"] = "nf4"
    compute: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number type to compute in; auto: what the machine is fast at"
    )
    threads: int = Field(0, ge=0, description="CPU threads of the worker; 0 for all")
    prompts: PromptSettings = PromptSettings()
    generation: GenerationSettings = GenerationSettings()
    server: ServerSettings | None = Field(
        None,
        description="Who drafts, criticises, revises, samples and judges; never who is trained",
    )
    models: RoleSettings = Field(
        RoleSettings(), description="Who drafts, criticises, revises, judges, teaches, if another"
    )
    vllm: VllmSettings = VllmSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    pairs: PairSettings = PairSettings()
    sft: dict[str, Any] = Field({})
    reward: dict[str, Any] = Field({})
    dpo: dict[str, Any] = Field({})
    ppo: dict[str, Any] = Field({})
    judge: JudgeSettings = JudgeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    gate: GateSettings = GateSettings()
    budget: BudgetSettings = BudgetSettings()

    @model_validator(mode="after")
    def _server_is_asked(self) -> Self:
        is_asked = self.generation.engine == "openai"
        if is_asked and self.server is None:
            raise ValueError("generation.engine=openai needs a server: {base_urls, model}")
        if self.server is not None and not is_asked:
            raise ValueError("a server is asked by generation.engine=openai only")
        return self

    @field_validator(*STAGES)
    @classmethod
    def _fill(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Check a stage's settings and fill in the defaults: keys and tasks see them all."""
        stage = str(info.field_name)
        if stage == "ppo":
            return dataclasses.asdict(config_from_settings(value))
        return dataclasses.asdict(parse_settings(SETTINGS[stage], value))


def files() -> dict[str, Traversable]:
    """The file of every recipe by name: those in the workspace's `recipes/`, and those that ship.

    The latter count where both have a name, so that a name in a document means one thing.
    """
    own = (Workspace.open().root / "recipes").glob("*.yaml")
    shipped = (path for path in RECIPES.iterdir() if path.name.endswith(".yaml"))
    return {path.name[:-5]: path for path in (*own, *shipped)}


def names() -> list[str]:
    """What a form offers, sorted."""
    return sorted(files())


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of that name, or of that file, with single values overridden by key path.

    Raises InputError for an unknown recipe, key or a value of the wrong type.
    """
    text = _read(name)
    content = _content(text, name)
    for path, value in (overrides or {}).items():
        _override(content, path, value)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        keys = [part for part in error.errors()[0]["loc"] if part not in (REFERENCE, SERVER)]
        line = None if _is_set(keys, overrides or {}) else line_of(text, keys)
        raise _first_problem(error, keys, f"{name}:{line}" if line else name) from None


def _read(name: str) -> str:
    path = files().get(name, Path(name))
    try:
        if not (path.name.endswith((".yaml", ".yml")) and path.is_file()):
            rule = "no recipe has this name"
            raise InputError(name, rule, f"use {', '.join(names())}, or a .yaml file", "recipe")
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")
    except OSError as error:
        rule = f"the recipe cannot be read ({error.strerror})"
        raise InputError(name, rule, "name another file", "recipe") from None
    if len(text) > MAX_BYTES:
        raise InputError(name, f"a recipe has at most {MAX_BYTES} bytes", "name another", "recipe")
    return text


def _content(text: str, name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = str(getattr(error, "problem", None) or "cannot be read")
        raise InputError(problem, "the recipe must be YAML", "mend the file", where) from None
    if not isinstance(content, dict):
        raise InputError(name, "a recipe is a mapping of keys", "see flows/recipes/demo.yaml")
    return content


def parse_overrides(values: list[str] | None) -> dict[str, Any]:
    """`key.path=value` strings as a mapping; values are read as YAML: scalars, lists, mappings.

    Raises InputError for a string without `=` or an empty key.
    """
    found: dict[str, Any] = {}
    for text in values or ():
        path, sign, value = text.partition("=")
        if not sign or not path.strip():
            raise InputError(text, "an override is key.path=value", "as prompts.limit=64", "--set")
        try:
            found[path.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[path.strip()] = value
    return found


def _as_mapping(value: Any) -> Any:
    return parse_overrides(value) if isinstance(value, list) else value


# Single values of a recipe by key path. Forms have no field for a mapping of any keys: there it is
# a list of key.path=value, as `--set` takes them.
Overrides = Annotated[
    dict[str, Any] | None,
    BeforeValidator(_as_mapping),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "title": "overrides"}),
]


def _override(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place = content
    for key in parents:
        child = place.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(path, f"{key} has no keys under it", "see the recipe", "--set")
        place = child
    place[last] = value


def _is_set(keys: Sequence[int | str], overrides: Mapping[str, Any]) -> bool:
    """Whether `--set` gave the value under these keys, or one above or below it."""
    path = ".".join(map(str, keys))
    return any(f"{path}.".startswith(f"{own}.") or own.startswith(f"{path}.") for own in overrides)


def _first_problem(error: ValidationError, keys: Sequence[int | str], where: str) -> SolonError:
    """The first finding of pydantic as one of ours, with the key's whole path."""
    problem, path = error.errors()[0], ".".join(map(str, keys))
    if problem["type"] == "extra_forbidden":
        fix = (
            f"use {', '.join(ROLES)}" if keys[:-1] == ["models"] else "see flows/recipes/demo.yaml"
        )
        return InputError(path, "no recipe has this key", fix, where)
    if problem["type"] in ("model_type", "dict_type"):
        rule = "this key has keys under it"
        return InputError(f"{path}={problem['input']!r}", rule, f"as {path}={{key: value}}", where)
    if problem["type"] == "missing":
        return InputError(path, "the recipe must have this key", "add it", where)
    cause = problem.get("ctx", {}).get("error")
    rule = str(cause) if cause else problem["msg"].lower()
    value = f"{path}={problem['input']!r}" if not cause else path
    return InputError(value, rule, "change it in the recipe or with --set", where)
