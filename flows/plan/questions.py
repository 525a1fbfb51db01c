"""What an evaluation asks every policy: the held-out prompts, and the questions of probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.plan.inputs import Inputs
from tasks.evaluation.answers import Asked
from tasks.evaluation.ordinary import Passage, passages
from tasks.evaluation.rows import HELD_OUT
from tasks.prompts import Prompt


@dataclass(frozen=True)
class HeldOut:
    """A held-out prompt as a question; nothing scores it but what scores every answer."""

    prompt: Prompt
    probe: str = HELD_OUT

    @property
    def question_id(self) -> str:
        return self.prompt.prompt_id


def questions_of(inputs: Inputs) -> list[Asked]:
    """In the order in which they are asked."""
    return [HeldOut(prompt) for prompt in inputs.evaluation_prompts]


def passages_of(inputs: Inputs) -> Sequence[Passage]:
    """The ordinary text that is read; none where the recipe does not want it."""
    return passages() if inputs.recipe.evaluation.perplexity else ()


def asked_parts(inputs: Inputs) -> dict[str, Any]:
    """What of the recipe decides an evaluation's rows, as parts of its key."""
    named = {"answers", "max_new_tokens", "temperature"}
    asked = inputs.recipe.evaluation.model_dump(include=named)
    return asked | {"passages": [passage.passage_id for passage in passages_of(inputs)]}
