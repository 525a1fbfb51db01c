"""Recipes: what a run is made of. YAML files, validated, unknown keys refused: those that ship, in
`flows/recipes/`, those of a workspace, in its `recipes/`, and any other by its path.

A recipe never enters a task: tasks take plain arguments. Single values are overridden with
`--set key.path=value` and by the fields of a flow's form in the UI.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from flows.plan.steps import STAGES
from storage.errors import InputError, SolonError
from storage.workspace import Workspace
from tasks.engines.address import base_url, variable
from tasks.evaluation.figures import Other
from tasks.evaluation.gate_rules import (
    QUESTIONS,
    Rule,
    in_force,
    is_metric,
    metric_names,
)
from tasks.evaluation.metrics import higher_is_better
from tasks.evaluation.probes import names as probe_names
from tasks.generation.sources import Source
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

Positive = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PromptSettings(Part):
    """Which prompts."""

    path: str = Field(
        "default", description="File, folder, hub:<set>; `default`, `everyday`: our own"
    )
    limit: Positive | None = Field(None, description="Usable prompts to take, in file order")
    max_chars: Positive = Field(20_000, description="Longer prompts are excluded, in characters")
    held_out_percent: int = Field(20, ge=1, le=90, description="Share kept from training")


class TokenLimits(Part):
    """Longest answer of each step, in tokens."""

    draft: Positive = 256
    critique: Positive = 128
    revision: Positive = 256


class GenerationSettings(Part):
    """How drafts, critiques and revisions are sampled (Bai et al. 2022: T = 1, four rounds)."""

    engine: Literal["transformers", "openai", "scripted"] = Field(
        "transformers",
        description="`openai` asks `server`; `scripted` answers by rule, to try the data path",
    )
    rounds: int = Field(1, ge=1, le=16, description="Critique and revision steps a prompt")
    system: str = Field("", description="System message before every draft; empty for none")
    temperature: float = Field(1.0, ge=0, le=10, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: TokenLimits = TokenLimits()
    max_prompt_tokens: Positive = Field(2048, description="Longer requests are excluded")
    batch_tokens: Positive = Field(16_384, description="Tokens in a batch: memory and speed only")
    batch_rows: Positive = Field(64, description="Rows in a batch: memory and speed only")
    chunk_rows: int = Field(256, ge=8, le=4096, description="Rows in one Prefect task")


def _address_list(value: Any) -> Any:
    if not isinstance(value, str | list | tuple) or not value:
        raise ValueError("this is an address or a list of addresses")
    found = tuple(base_url(each) for each in _as_tuple(value))
    if len(set(found)) < len(found):
        raise ValueError("an address is named twice")
    return found


class ServerSettings(Part):
    """OpenAI-compatible servers of one chat model (see tasks/engines/openai.py).

    The key is in an environment variable, of which only the name is written down.
    """

    base_urls: Annotated[tuple[str, ...], BeforeValidator(_address_list)] = Field(
        description="Addresses, as http://127.0.0.1:8000/v1"
    )
    model: str = Field(min_length=1, description="The model, as the servers name it")
    key_env: Annotated[str | None, BeforeValidator(variable)] = Field(
        None, description="Name of the environment variable that holds the key"
    )
    concurrency: int = Field(16, ge=1, le=1024, description="Requests at once, a server")
    timeout_s: float = Field(300, gt=0, description="Seconds that an answer may take")
    retries: int = Field(10, ge=0, le=100, description="Failures in a row, of request and server")
    price_in: float | None = Field(None, ge=0, description="Of a million tokens read")
    price_out: float | None = Field(None, ge=0, description="Of a million tokens written")


class SnapshotSettings(Part):
    """Which revisions become rows."""

    sft_rounds: Literal["all", "last"] = "all"


class Shares(Part):
    """Share of the prompts for each source of pairs, relative to each other."""

    revision: float = Field(1.0, ge=0, description="A draft criticised and rewritten")
    distilled: float = Field(0.0, ge=0, description="A teacher with the principles, against none")
    candidates: float = Field(0.0, ge=0, description="Answers of one model, ranked")

    def by_source(self) -> dict[Source, float]:
        own: dict[Source, float] = {
            "revision": self.revision,
            "distilled": self.distilled,
            "candidates": self.candidates,
        }
        return own

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.revision or self.distilled or self.candidates):
            raise ValueError("at least one source must have a share above 0")
        return self


class PairSettings(Part):
    """Where pairs come from, and what must speak for them (see tasks/generation/sources.py)."""

    shares: Shares = Shares()
    samples: int = Field(4, ge=2, le=8, description="Answers a prompt of teacher, student, model")
    student_samples: int | None = Field(
        None, ge=1, le=8, description="Of the student, where other than `samples`"
    )
    temperature: float = Field(1.0, gt=0, le=10, description="Of these answers")
    max_new_tokens: Positive = Field(256, description="Longest of these answers")
    principles: int = Field(1, ge=1, le=16, description="Principles a teacher is shown")
    candidates_of: Literal["sft", "model"] = Field(
        "sft", description="Whose answers are candidates: the SFT checkpoint's or the model's"
    )
    evidence: Literal["required", "presumed"] = Field(
        "required", description="`presumed` also trains on pairs that no program or judge decided"
    )
    whole: bool = Field(True, description="Leave out pairs with a side that was cut at the limit")
    examples: Positive = Field(2, description="Answers of a teacher to learn in SFT, a prompt")
    people: str | None = Field(None, description="File of pairs that people judged; they outrank")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Floor = Annotated[float | None, Field(ge=0, le=1)]


class FloorSettings(Part):
    """What the judge's report card must reach, or nothing is trained; null for no floor."""

    accuracy: Floor = Field(None, description="Right, of the gold pairs that it decides")
    accuracy_all: Floor = Field(None, description="Right, of all gold pairs; a tie counts half")
    decided: Floor = Field(None, description="Decided, of all gold pairs")
    consistency: Floor = Field(None, description="Both orders name the same response")


class JudgeSettings(Part):
    """Who compares the answers that no program can tell apart (see tasks/judging/judge.py)."""

    use: bool = Field(False, description="Ask the recipe's model as judge")
    n_principles: int = Field(1, ge=1, le=16, description="Comparison questions a pair")
    few_shot: bool = Field(True, description="Worked comparisons before every question")
    chain_of_thought: bool = Field(False, description="Weigh both in words first")
    clamp: tuple[float, float] | None = Field(
        None, description="Ends of its figures; null: 0.4 and 0.6 with chain of thought, else none"
    )
    abstain: float = Field(0.1, ge=0, le=1, description="How far its two orders may disagree")
    verdicts: Literal["logprobs", "sampled"] = Field(
        "logprobs", description="`sampled` for engines without log-probabilities"
    )
    samples: int = Field(5, ge=1, le=64, description="Sampled verdicts in each order")
    card_pairs: int = Field(64, ge=0, description="Pairs that programs decided, for its card")
    gold: str | None = Field(None, description="File of pairs of which the better one is known")
    floor: FloorSettings = FloorSettings()


def _probes(value: Any) -> Any:
    if value == "all":
        return probe_names()
    return (value,) if isinstance(value, str) else value


class EvaluationSettings(Part):
    """What every policy is asked, and how (see tasks/evaluation/metrics.py)."""

    prompts: Positive = Field(64, description="Held-out prompts at most")
    answers: int = Field(1, ge=1, le=64, description="Answers a question")
    probes: Annotated[tuple[str, ...], BeforeValidator(_probes)] = Field(
        (), description="Names of probes, or files of questions; `all` for all that ship"
    )
    probe_questions: Positive | None = Field(None, description="Questions a probe at most")
    perplexity: bool = Field(True, description="Whether ordinary text is read")
    max_new_tokens: Positive = 128
    temperature: float = Field(1.0, ge=0, le=10, description="1 is what PPO samples at")
    batch_size: Positive = Field(64, description="Rows in a batch: memory and speed only")
    shown: int = Field(6, ge=0, description="Prompts shown side by side in the report")


class RuleSettings(Part):
    """What one metric must be (see tasks/evaluation/gate_rules.py); only what is written counts."""

    min: float | None = Field(None, description="The number itself at least")
    max: float | None = Field(None, description="The number itself at most")
    no_worse_than: Annotated[tuple[Other, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="base, parent, champion, or several: not worse than these"
    )
    margin: float = Field(0.0, ge=0, description="By how much it may be worse")
    min_ratio: float | None = Field(None, gt=0, description="Over that of `to` at least")
    max_ratio: float | None = Field(None, gt=0, description="Over that of `to` at most")
    max_rise: float | None = Field(None, ge=0, description="Above that of `to` at most")
    to: Other = Field("base", description="Whose number ratios and rises are relative to")
    excused_by: str | None = Field(
        None, description="A metric; while it has not fallen, a smaller ratio does no harm"
    )

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in whole(self).items() if name in self.model_fields_set}


class GateSettings(Part):
    """What a trained model must be, to take the place of the champion (see run/gate.py)."""

    candidate: Literal["sft", "dpo", "ppo"] = Field(
        "ppo", description="Whose checkpoint may become champion"
    )
    questions: int = Field(QUESTIONS, ge=2, description="What a verdict must rest on at least")
    rules: dict[str, RuleSettings | None] = Field(
        {}, description="By metric, beside the rules that hold by default; null: no rule on it"
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if isinstance(value, dict) and "max_kl" in value:
            given = value["max_kl"]
            raise ValueError(f"max_kl is a rule now: write rules.kl.max={given} in its place")
        return value

    @field_validator("rules")
    @classmethod
    def _on_metrics(cls, value: dict[str, RuleSettings | None]) -> dict[str, RuleSettings | None]:
        for metric, rule in value.items():
            for name in (metric, rule.excused_by if rule else None):
                if name is not None and not is_metric(name):
                    raise ValueError(f"{name}: no metric has this name, there are {metric_names()}")
            if rule and rule.no_worse_than and higher_is_better(metric) is None:
                rule_of = "no_worse_than says nothing of it, as neither more nor less is better"
                raise ValueError(f"{metric}: {rule_of}: use min_ratio, max_ratio or max_rise")
        return value

    def in_force(self) -> list[Rule]:
        """The rules that hold, those by default among them."""
        rules = self.rules.items()
        return in_force({name: rule.model_dump() if rule else None for name, rule in rules})


class BudgetSettings(Part):
    """What a run of a deployment may cost by its plan without asking anyone; null for no limit."""

    calls: int | None = Field(None, ge=0, description="Model calls at most")
    seconds: float | None = Field(None, ge=0, description="Seconds at most; unknown is more")


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
    snapshots: SnapshotSettings = SnapshotSettings()
    pairs: PairSettings = PairSettings()
    sft: dict[str, Any] = {}
    reward: dict[str, Any] = {}
    dpo: dict[str, Any] = {}
    ppo: dict[str, Any] = {}
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
    content = _read(name)
    for path, value in (overrides or {}).items():
        _override(content, path, value)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise _first_problem(error, name) from None


def _read(name: str) -> dict[str, Any]:
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


def _first_problem(error: ValidationError, where: str) -> SolonError:
    """The first finding of pydantic as one of ours, with the key's whole path."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return InputError(path, "no recipe has this key", "see flows/recipes/demo.yaml", where)
    if problem["type"] in ("model_type", "dict_type"):
        rule = "this key has keys under it"
        return InputError(f"{path}={problem['input']!r}", rule, f"as {path}={{key: value}}", where)
    if problem["type"] == "missing":
        return InputError(path, "the recipe must have this key", "add it", where)
    cause = problem.get("ctx", {}).get("error")
    rule = str(cause) if cause else problem["msg"].lower()
    value = f"{path}={problem['input']!r}" if not cause else path
    return InputError(value, rule, "change it in the recipe or with --set", where)
