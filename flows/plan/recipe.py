"""Recipes: what a run is made of. YAML files, validated, unknown keys refused: those that ship, in
`flows/recipes/`, those of a workspace, in its `recipes/`, and any other by its path.

A recipe never enters a task: tasks take plain arguments. Single values are overridden with
`--set key.path=value` and by the fields of a flow's form in the UI.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

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
from flows.plan.pair_parts import PairSettings, SnapshotSettings
from flows.plan.parts import (
    LIBRARIES,
    REFERENCE,
    SERVER,
    BudgetSettings,
    GenerationSettings,
    JudgeSettings,
    Part,
    PromptSettings,
    RoleSettings,
    ServerSettings,
    Tracker,
    VllmSettings,
)
from flows.plan.recipe_file import RecipeFile, as_settings, read
from flows.plan.recipe_yaml import NO_TEXT, is_text, read_yaml
from flows.plan.settings import Setting, filled, settings_of, unknown
from flows.plan.steps import STAGES
from storage.errors import InputError, SolonError
from storage.nearest import meant

QUOTED = re.compile(r"'([^']*)'")  # a choice, as pydantic lists them


class Recipe(Part):
    """One whole run."""

    name: str = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description="What the project is called: small letters and digits, with dashes between",
    )
    description: str = Field("", description="What it is for, in a sentence, for people")
    seed: int = Field(0, ge=0, lt=2**31, description="Of every training; another one trains anew")
    constitution: str = Field("default", description="A name in constitution/ or a file's path")
    model: str = Field(
        min_length=1,
        description="What is trained: a hub id (owner/name[@revision]), ./folder of safetensors,"
        " package:module/file.gguf, checkpoint:ID or random:tiny",
    )
    quantization: Literal["nf4", "none"] = Field(
        "nf4", description="How the frozen base is held in memory: nf4 is 4 bits a weight"
    )
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
    track: list[Tracker] = Field(
        ["tensorboard"], description="Which tools follow a training: tensorboard, mlflow, wandb"
    )

    def files(self) -> dict[str, Sequence[str | None]]:
        """What may be a file's path, or a name of ours, by key."""
        return {
            "constitution": (self.constitution,),
            "prompts.path": (self.prompts.path,),
            "prompts.more": self.prompts.more,
            "pairs.people": [own.path for own in self.pairs.people],
            "pairs.demonstrations": [own.path for own in self.pairs.demonstrations],
            "judge.gold": (self.judge.gold,),
            "evaluation.probes": self.evaluation.probes,
        }

    @model_validator(mode="after")
    def _server_is_asked(self) -> Self:
        is_asked = self.generation.engine == "openai"
        if is_asked and self.server is None:
            raise ValueError("generation.engine=openai needs a server: {base_urls, model}")
        if self.server is not None and not is_asked:
            raise ValueError("a server is asked by generation.engine=openai only")
        return self

    @field_validator("track")
    @classmethod
    def _is_installed(cls, value: list[str]) -> list[str]:
        for name in value:
            library = LIBRARIES.get(name, name)
            if importlib.util.find_spec(library) is None:
                raise ValueError(f"{library} is not installed here: pip install {library}")
        return value

    @field_validator(*STAGES)
    @classmethod
    def _fill(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Check a stage's settings and fill in the defaults: keys and tasks see them all."""
        return filled(str(info.field_name), value)


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of that name, or of that file, with single values overridden by key path.

    Raises InputError for an unknown recipe, key or a value of the wrong type.
    """
    file = read(name)
    content = file.content
    for path, value in (overrides or {}).items():
        if not is_text(value):
            raise InputError(ascii(value), NO_TEXT, "remove it", path)
        _override(content, path, value)
    _check_stages(content, name)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        keys = [part for part in error.errors()[0]["loc"] if part not in (REFERENCE, SERVER)]
        line = None if _is_set(keys, overrides or {}) else _line_of(file, keys)
        raise _first_problem(error, keys, f"{name}:{line}" if line else name) from None


def settings() -> dict[str, Setting]:
    """Every setting of a recipe by its key path."""
    return settings_of(Recipe)


def _check_stages(content: Mapping[str, Any], where: str) -> None:
    """Raise InputError for a key that no stage has: pydantic does not look into them."""
    for stage in STAGES:
        given = content.get(stage)
        for key in given if isinstance(given, dict) else ():
            if f"{stage}.{key}" not in settings():
                raise _no_key(f"{stage}.{key}", where)


def _no_key(path: str, where: str) -> InputError:
    return InputError(path, "no recipe has this key", unknown(path, settings()), where)


def parse_overrides(values: list[str] | None) -> dict[str, Any]:
    """`key.path=value` strings as a mapping. What is a text is taken as it is, whole; other values
    are read as YAML: numbers, lists, mappings.

    Raises InputError for a string without `=` or an empty key.
    """
    found: dict[str, Any] = {}
    for text in values or ():
        path, sign, value = text.partition("=")
        if not sign or not path.strip():
            raise InputError(text, "an override is key.path=value", "as prompts.limit=64", "--set")
        found[path.strip()] = _given(path.strip(), value)
    return found


def _given(path: str, value: str) -> Any:
    """A value as `--set` gives it, by the kind of its setting: a text whole, without the quotes
    around it; what is no YAML is a text.
    """
    setting = settings().get(path)
    kinds = set(setting.type.split(" or ")) if setting else set()
    is_quoted = len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]
    if kinds and kinds <= {"text", "null"} and not is_quoted:
        return None if value == "null" and "null" in kinds else value
    try:
        return read_yaml(value).value
    except InputError as error:
        if error.rule == NO_TEXT:
            raise InputError(error.value, NO_TEXT, error.fix, path) from None
        return value


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
        as_settings(place, key)
        child = place.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(path, f"{key} has no keys under it", "see the recipe", "--set")
        place = child
    place[last] = value


def _line_of(file: RecipeFile, keys: Sequence[int | str]) -> int | None:
    """The line of the key that leads deepest towards these."""
    paths = (".".join(map(str, keys[:count])) for count in range(len(keys), 0, -1))
    return next((file.lines[path] for path in paths if path in file.lines), None)


def _is_set(keys: Sequence[int | str], overrides: Mapping[str, Any]) -> bool:
    """Whether `--set` gave the value under these keys, or one above or below it."""
    path = ".".join(map(str, keys))
    return any(f"{path}.".startswith(f"{own}.") or own.startswith(f"{path}.") for own in overrides)


def _first_problem(error: ValidationError, keys: Sequence[int | str], where: str) -> SolonError:
    """The first finding of pydantic as one of ours, with the key's whole path."""
    problem, path = error.errors()[0], ".".join(map(str, keys))
    if problem["type"] == "extra_forbidden":
        return _no_key(path, where)
    if problem["type"] in ("model_type", "dict_type"):
        rule = "this key has keys under it"
        return InputError(f"{path}={problem['input']!r}", rule, f"as {path}={{key: value}}", where)
    if problem["type"] == "missing":
        return InputError(path, "the recipe must have this key", "add it", where)
    cause = problem.get("ctx", {}).get("error")
    fix = "change it in the recipe or with --set"
    if problem["type"] == "literal_error":
        fix = meant(str(problem["input"]), QUOTED.findall(problem["ctx"]["expected"]), fix)
    if cause:
        rule, _, given = str(cause).partition("; ")
        return InputError(path, rule, given or fix, where)
    return InputError(f"{path}={problem['input']!r}", problem["msg"].lower(), fix, where)
