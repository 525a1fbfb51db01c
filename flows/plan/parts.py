"""The parts of a recipe that make rows: prompts, generation, who is asked, judge; budget."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from storage.errors import InputError
from tasks.chat.manner import DATE, THINK_TAGS, Manner
from tasks.engines.address import base_url, variable
from tasks.generation.method import ROLES, Role
from tasks.models import parse
from tasks.prompts import Reading

Positive = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _date(value: Any) -> str:
    """YYYY-MM-DD; YAML makes a date of it."""
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is no date as 2026-01-31") from None


ThinkTag = Annotated[str, Field(min_length=1, pattern=r"\S")]


class PromptSettings(Part):
    """Which prompts. A text is short for its `path`."""

    path: str = Field(
        "default", description="File, folder, hub:<set>; `default`, `everyday`: our own"
    )
    more: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = Field(
        (), description="Files of more prompts, as solon more-prompts writes them; all are taken"
    )
    limit: Positive | None = Field(None, description="Usable prompts to take, in file order")
    max_chars: Positive = Field(20_000, description="Longer prompts are excluded, in characters")
    held_out_percent: int = Field(20, ge=1, le=90, description="Share kept from training")
    columns: dict[str, str | None] = Field(
        {}, description="Columns that have other names: {prompt: Query}; null: not read"
    )
    encoding: str = Field("utf-8", description="Of text files, as windows-1252")
    categories: Literal["read", "ignore"] | dict[str, str] = Field(
        "read", description="Of the prompts; `ignore` them, or rename them: {theirs: ours}"
    )
    licence: str | None = Field(None, description="A note on their licence, for cards of exports")

    @property
    def reading(self) -> Reading:
        named = self.categories
        categories = named if isinstance(named, dict) else named == "read"
        return Reading(self.columns, self.encoding, categories, self.max_chars)

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class TokenLimits(Part):
    """Longest answer of each step, in tokens."""

    draft: Positive = Field(256, description="Longest draft, in tokens")
    critique: Positive = Field(128, description="Longest critique, in tokens")
    revision: Positive = Field(256, description="Longest revision, in tokens")


class GenerationSettings(Part):
    """How drafts, critiques and revisions are sampled (Bai et al. 2022: T = 1, four rounds)."""

    engine: Literal["auto", "transformers", "vllm", "openai", "scripted"] = Field(
        "auto",
        description="`auto`: vllm where it and a GPU are there, else transformers; `openai` asks"
        " `server`; `scripted` answers by rule, to try the data path",
    )
    rounds: int = Field(1, ge=1, le=16, description="Critique and revision steps a prompt")
    system: str = Field("", description="System message before every draft; empty for none")
    temperature: float = Field(1.0, ge=0, le=10, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="Share of the likeliest tokens; 1 is all")
    max_new_tokens: TokenLimits = TokenLimits()
    max_prompt_tokens: Positive = Field(2048, description="Longer requests are excluded")
    batch_tokens: Positive = Field(16_384, description="Tokens in a batch: memory and speed only")
    batch_rows: Positive = Field(128, description="Rows in a batch: memory and speed only")
    chunk_rows: int = Field(256, ge=8, le=4096, description="Rows in one Prefect task")
    thinking: bool | None = Field(
        None, description="Think aloud, of models with a switch for it; null leaves it to them"
    )
    date: Annotated[str, BeforeValidator(_date)] = Field(
        DATE, description="The date that a chat template is told which asks for one"
    )
    think_tags: tuple[ThinkTag, ThinkTag] = Field(
        THINK_TAGS, description="Around what a model thinks aloud: kept, but never learned from"
    )

    @property
    def manner(self) -> Manner:
        """How the model's chat template is filled."""
        return Manner(self.thinking, self.date, self.think_tags)


def _address_list(value: Any) -> Any:
    if not isinstance(value, str | list | tuple) or not value:
        raise ValueError("this is an address or a list of addresses")
    found = tuple(base_url(each) for each in as_tuple(value))
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


def _arguments(value: Any) -> Any:
    found = as_tuple(value)
    for text in found if isinstance(found, list | tuple) else ():
        name = str(text).split("=")[0].replace("_", "-").lower()
        if any(own.startswith(name) for own in OURS):  # vLLM takes the start of a name for it
            raise ValueError(f"{str(text).split('=')[0]} is none of a recipe's business")
    return found


OURS = ("--api-key", "--host", "--port", "--uds", "--served-model-name", "--trust-remote-code")


class VllmSettings(Part):
    """The vLLM that a run starts by itself (see tasks/engines/vllm_command.py)."""

    memory_share: float | None = Field(
        None, gt=0, le=1, description="Of the GPU's memory; null: 0.85, of a CPU's 0.25"
    )
    max_model_len: Positive | None = Field(
        None, description="Prompt and answer, in tokens; null: what the recipe needs"
    )
    concurrency: int = Field(256, ge=1, le=4096, description="Requests at once")
    start_s: float = Field(1800, gt=0, description="Seconds that its start may take")
    arguments: Annotated[tuple[str, ...], BeforeValidator(_arguments)] = Field(
        (), description="More for `vllm serve`, as --enforce-eager"
    )


def _reference(value: str) -> str:
    try:
        return parse(value).text
    except InputError as error:
        raise ValueError(f"{error.value}: {error.rule}; {error.fix}") from None


# In a finding's path the tags are left out: people write neither.
REFERENCE, SERVER = "(reference)", "(server)"
Asked = Annotated[
    Annotated[Annotated[str, AfterValidator(_reference)], Tag(REFERENCE)]
    | Annotated[ServerSettings, Tag(SERVER)],
    Discriminator(lambda value: REFERENCE if isinstance(value, str) else SERVER),
]


class RoleSettings(Part):
    """Who is asked in a role instead of who is asked in all others: a model's reference, or a
    server's settings. What a student says, and candidates, is never another's.
    """

    draft: Asked | None = Field(None, description="Who drafts: a model's reference, or a server")
    critique: Asked | None = Field(
        None, description="Who criticises: a model's reference, or a server"
    )
    revision: Asked | None = Field(
        None, description="Who revises: a model's reference, or a server"
    )
    judge: Asked | None = Field(None, description="Who judges: a model's reference, or a server")
    teacher: Asked | None = Field(None, description="Who teaches: a model's reference, or a server")

    def named(self) -> dict[Role, str | ServerSettings | None]:
        """The roles that another one is asked in."""
        asked = {role: getattr(self, role) for role in ROLES}
        return {role: found for role, found in asked.items() if found is not None}


Floor = Annotated[float | None, Field(ge=0, le=1)]


class FloorSettings(Part):
    """What the judge's report card must reach, or nothing is trained; null for no floor."""

    accuracy: Floor = Field(None, description="Right, of the gold pairs that it decides")
    accuracy_all: Floor = Field(None, description="Right, of all gold pairs; a tie counts half")
    decided: Floor = Field(None, description="Decided, of all gold pairs")
    consistency: Floor = Field(None, description="Both orders name the same response")


class JudgeSettings(Part):
    """Who compares the answers that no program can tell apart (see tasks/judging/judge.py)."""

    use: bool = Field(False, description="Ask `models.judge` as judge, else who generates")
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


Tracker = Literal["tensorboard", "mlflow", "wandb"]
LIBRARIES: dict[str, str] = {"tensorboard": "tensorboardX"}  # of a tracker, where named otherwise


class BudgetSettings(Part):
    """What a run of a deployment may cost by its plan without asking anyone; null for no limit."""

    calls: int | None = Field(None, ge=0, description="Model calls at most")
    seconds: float | None = Field(None, ge=0, description="Seconds at most; unknown is more")
