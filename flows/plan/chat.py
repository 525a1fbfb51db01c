"""A chat template as a recipe has it filled, and what that makes of a model's identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import InputError
from storage.ids import content_id
from storage.workspace import Workspace
from tasks import models
from tasks.chat.folder import read_template
from tasks.chat.manner import Manner
from tasks.chat.template import Refusal, Template
from tasks.chat.think import Thinking, opens_thought
from tasks.chat.trial import try_out
from tasks.models import FindCheckpoint, ModelInfo


@dataclass(frozen=True)
class Seen:
    """What can be seen of a reference's model. `folder`: None where it is not there yet;
    `template`: None then, or where it has none.
    """

    info: ModelInfo
    folder: Path | None
    template: Template | None


def seen(reference: str, *, workspace: Workspace, find: FindCheckpoint, manner: Manner) -> Seen:
    """Raises InputError where the reference names nothing, or its template cannot be read or takes
    too much.
    """
    folder = models.there(reference, workspace, find)
    if folder:
        try_out(folder, workspace, manner)
    template = read_template(folder, manner) if folder else None
    info = as_filled(models.identify(reference, workspace, find), template)
    return Seen(info, folder, template)


def takes_calls(template: Template | None) -> bool:
    """Whether a template is known to keep calls of tools and what these gave."""
    try:
        return template is not None and template.traits.takes_calls
    except Refusal:  # of which `model_checks` says more
        return False


def check_switch(template: Template | None, manner: Manner) -> None:
    """Raise InputError where a template lacks a switch that is set."""
    if template and manner.thinking is not None and not template.has_switch:
        rule = "the model's chat template has no switch for thinking (enable_thinking)"
        raise InputError(manner.thinking, rule, "leave it null", "generation.thinking")


def thinking_of(template: Template | None, manner: Manner) -> Thinking:
    """How a model's thoughts are told from its answers; a server shows no template."""
    return Thinking(manner.think_tags, template is not None and opens_thought(template))


def filled(model_id: str, filling: Mapping[str, Any]) -> str:
    """A model whose template is filled with a date or a switch is a model of its own."""
    return content_id("model", ["chat", dict(filling), model_id]) if filling else model_id


def as_filled(info: ModelInfo, template: Template | None) -> ModelInfo:
    """The model as the recipe has its template filled."""
    filling = template.filling if template else {}
    return dataclasses.replace(
        info,
        model_id=info.model_id and filled(info.model_id, filling),
        base_model_id=info.base_model_id and filled(info.base_model_id, filling),
    )
