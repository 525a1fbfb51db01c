"""The small forms that the UI draws: an edited principle, and the answer to a plan.

Lengths are part of the schema, so a server refuses what is too long before a run is created.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from prefect.input import RunInput
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_CHARS = 4000
MAX_SLUG_CHARS = 64
Words = Annotated[str, StringConstraints(max_length=MAX_CHARS)]


def _at(position: int, description: str, default: Any = ...) -> Any:
    return Field(default, description=description, json_schema_extra={"position": position})


def _number(position: int) -> Callable[[dict[str, Any]], None]:
    """Draw a number that may be absent as a number: for one that may be null the UI asks first
    which of the two it is to be.
    """

    def draw(schema: dict[str, Any]) -> None:
        del schema["default"]
        schema |= next(part for part in schema.pop("anyOf") if part["type"] != "null")
        schema["position"] = position

    return draw


class PrincipleEdit(BaseModel):
    """New words for one principle. A field left empty stays as it is."""

    model_config = ConfigDict(extra="forbid")

    slug: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLUG_CHARS)] = _at(
        0, "The principle to change; its words of now are on the page /solon/principles"
    )
    critique: Words = _at(1, f"Critique request, at most {MAX_CHARS} characters", "")
    revision: Words = _at(2, f"Revision request, at most {MAX_CHARS} characters", "")
    comparison: Words = _at(3, f"Comparison question, at most {MAX_CHARS} characters", "")
    title: Words = _at(4, "Title on one line, for people and for a teacher", "")

    @property
    def changes(self) -> dict[str, str]:
        """The new words by field; no field that was left empty."""
        words = self.model_dump(exclude={"slug"})
        return {name: value for name, value in words.items() if value.strip()}


class Decision(RunInput):
    """The answer to a plan: whether the run may go on, and up to what."""

    model_config = ConfigDict(json_schema_extra={"required": ["approve", "by"]})

    approve: bool = _at(
        0, "On: the run goes on with what the plan shows. Off: Resume ends the run", False
    )
    by: Annotated[str, StringConstraints(min_length=1, max_length=200)] = _at(
        1, "Who answers; kept with the answer"
    )
    note: Annotated[str, StringConstraints(max_length=2000)] = _at(2, "Why; kept with it", "")
    limit_calls: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Model calls at most: where the plan may need more, the run ends."
        " Empty: no limit",
        json_schema_extra=_number(3),
    )
