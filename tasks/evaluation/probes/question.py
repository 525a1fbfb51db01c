"""A question of a probe, and what a program says of an answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.ids import content_id
from tasks.prompts import Prompt

SCORER = "scorer"  # the key of `expects` that names the scorer where it is not the probe's own


@dataclass(frozen=True)
class Question:
    """What a policy is asked. `expects`: JSON values that its scorer needs; {} without a scorer."""

    probe: str
    prompt: Prompt
    expects: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question_id(self) -> str:
        """Its content: probe, messages and what is expected."""
        parts = [self.probe, list(self.prompt.messages), dict(self.expects)]
        return content_id("question", parts)

    @property
    def asked(self) -> str:
        """The last user turn."""
        return self.prompt.messages[-1]["content"]

    @property
    def scorer(self) -> str:
        return str(self.expects.get(SCORER, self.probe))


@dataclass(frozen=True)
class Scored:
    """value: from 0 (wrong) to 1 (right); reason: in words that follow "the answer"."""

    value: float
    reason: str
