"""How a model's template is filled, and what of an answer is thought aloud: a recipe's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

THINK_TAGS = ("<think>", "</think>")
DATE = "2026-01-01"


@dataclass(frozen=True)
class Manner:
    """thinking: of templates with such a switch; None leaves it to the template. date: YYYY-MM-DD,
    what a template that asks for the time is told. think_tags: around what is thought aloud.
    """

    thinking: bool | None = None
    date: str = DATE
    think_tags: tuple[str, str] = THINK_TAGS

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.date)

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Manner:
        """From a job's description: JSON, in which a tuple is a list."""
        found = dict(values or {})
        if "think_tags" in found:
            found["think_tags"] = tuple(found["think_tags"])
        return cls(**found)


DEFAULT = Manner()
