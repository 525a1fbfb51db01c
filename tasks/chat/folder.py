"""A model's folder: its chat template and the names of its special tokens, without transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.chat.manner import DEFAULT, Manner
from tasks.chat.template import FIX, Refusal, Template

CONFIG, TEMPLATE, LEGACY = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"


def read_template(folder: Path, manner: Manner = DEFAULT) -> Template | None:
    """The template that a model's conversations go through; None where it has none.

    Raises Refusal where it cannot be read.
    """
    source = source_of(folder)
    return None if source is None else Template(source, special_tokens(folder), manner)


def source_of(folder: Path) -> str | None:
    """A template as it is written; None where there is none. Raises Refusal where it is no text."""
    source: Any = read_json(folder / CONFIG).get("chat_template")
    if (folder / TEMPLATE).is_file():
        source = (folder / TEMPLATE).read_text(encoding="utf-8", errors="replace")
    elif (folder / LEGACY).is_file():
        source = read_json(folder / LEGACY).get("chat_template")
    if isinstance(source, list):  # several by name, of which the default counts
        source = {named.get("name"): named.get("template") for named in source}.get("default")
    if source is None or source == "":
        return None
    if not isinstance(source, str):
        raise Refusal("chat_template", "the model's chat template is no text", FIX)
    return source


def special_tokens(folder: Path) -> dict[str, str]:
    """`bos_token`, `eos_token` and so on, as far as the folder names them."""
    named = read_json(folder / "special_tokens_map.json") | read_json(folder / CONFIG)
    texts = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in named.items()
        if name.endswith("_token")
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def added_tokens(folder: Path) -> set[str]:
    """The spellings of all added tokens."""
    decoder = read_json(folder / CONFIG).get("added_tokens_decoder") or {}
    listed = read_json(folder / "tokenizer.json").get("added_tokens") or []
    return {str(token.get("content")) for token in [*decoder.values(), *listed]}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
