"""The parts of a recipe that say where pairs come from, and what people bring to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from flows.plan.parts import Part, Positive
from storage.errors import InputError
from tasks.generation.sources import Source
from tasks.judging.named_columns import check_names
from tasks.judging.people import SetSource


class SetSettings(Part):
    """A set that people brought. A text is short for its `path`."""

    path: str = Field(min_length=1, description="File, folder or hub:<set>, as prompts.path")
    source: str | None = Field(None, description="What it is called; null: its path")
    licence: str | None = Field(None, description="A note on its licence, kept with every row")
    ratio: float | None = Field(
        None, gt=0, description="Its rows at most for every row made here; null: all of them"
    )
    columns: dict[str, str | None] = Field(
        {}, description="Columns that have other names: {chosen: Good}; null: not read"
    )
    encoding: str = Field("utf-8", description="Of text files, as windows-1252")

    @property
    def as_source(self) -> SetSource:
        named = self.source or self.path, self.licence, self.ratio, self.columns, self.encoding
        return SetSource(self.path, *named)

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        try:
            check_names(self.columns, "columns")
        except InputError as error:
            raise ValueError(f"{error.value}: {error.rule}; {error.fix}") from None
        return self


def _sets(value: Any) -> Any:
    """A text, or one set's settings, is short for a list of one."""
    if value is None:
        return ()
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple({"path": each} if isinstance(each, str) else each for each in listed)


Sets = Annotated[tuple[SetSettings, ...], BeforeValidator(_sets)]


def sources(sets: Iterable[SetSettings]) -> list[SetSource]:
    return [each.as_source for each in sets]


class SnapshotSettings(Part):
    """Which revisions become rows."""

    sft_rounds: Literal["all", "last"] = Field(
        "all", description="Whether SFT learns the revision of every round or of the last one"
    )


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
    people: Sets = Field(
        (), description="Sets of pairs that people judged: a path, or more settings; they outrank"
    )
    demonstrations: Sets = Field(
        (), description="Sets of prompts with a good answer, for SFT: a path, or more settings"
    )
