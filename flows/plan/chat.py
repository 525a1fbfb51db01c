"""A chat template as a recipe has it filled, and what that makes of a model's identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import InputError
from storage.ids import content_id
from tasks.chat.folder import read_template
from tasks.chat.manner import Manner
from tasks.chat.template import Template
from tasks.models import ModelInfo


def template_of(folder: Path | None, manner: Manner) -> Template | None:
    """The template of a model's folder; None where there is none, or no folder yet.

    Raises InputError where it cannot be read, or lacks a switch that is set.
    """
    template = read_template(folder, manner) if folder else None
    if template and manner.thinking is not None and not template.has_switch:
        rule = "the model's chat template has no switch for thinking (enable_thinking)"
        raise InputError(manner.thinking, rule, "leave it null", "generation.thinking")
    return template


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
