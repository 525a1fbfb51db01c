"""What of a recipe and of the files behind it decides the rows of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.plan.inputs import Inputs
from tasks.evaluation.ordinary import Passage, passages
from tasks.evaluation.probes import fingerprint


def passages_of(inputs: Inputs) -> Sequence[Passage]:
    """The ordinary text that is read; none where the recipe does not want it."""
    return passages() if inputs.recipe.evaluation.perplexity else ()


def asked_parts(inputs: Inputs) -> dict[str, Any]:
    """The parts of an evaluation's key beside its prompts: a probe by its questions and scorer."""
    named = {"answers", "max_new_tokens", "temperature", "probe_questions"}
    return inputs.recipe.evaluation.model_dump(include=named) | {
        "probes": {name: fingerprint(probe) for name, probe in inputs.probes.items()},
        "passages": [passage.passage_id for passage in passages_of(inputs)],
    }
