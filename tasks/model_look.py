"""A model's folder looked at before its first call, without weights: is it whole, does it need code
of its own, does what ends an answer have a token, how much does it read."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from storage.errors import InputError
from tasks.chat.folder import CONFIG, added_tokens, read_json, special_tokens
from tasks.chat.template import Template
from tasks.model_files import INDEXES, WEIGHTS

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
MAX_HEADER = 1 << 27  # bytes


def look_at(folder: Path, template: Template | None) -> None:
    """Raise InputError where a model's folder cannot be asked or trained as it is."""
    config = read_json(folder / "config.json")
    _check_code(folder, config)
    for path in sorted(folder.glob(WEIGHTS)):
        _check_places(path)
    _check_layers(folder, text_config(config))
    if template is not None:
        _check_end(folder, template)


def context_of(folder: Path) -> int | None:
    """The most tokens that a model reads, as its settings say; None where they do not."""
    found = text_config(read_json(folder / "config.json")).get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the language model in a model of several parts."""
    own = config.get("text_config")
    return own if isinstance(own, dict) else config


def _check_code(folder: Path, config: dict[str, Any]) -> None:
    """A model that transformers knows by itself needs no code, though its settings name some."""
    kind = str(config.get("model_type") or "")
    if "auto_map" in config and not _is_known(kind):
        rule = (
            f"a model of code of its own ({kind or 'no model_type'}, auto_map), which is never run"
        )
        raise InputError(folder.name, rule, "use a model that transformers knows", "model")
    has_tokenizer = (folder / "tokenizer.json").is_file()
    if "auto_map" in read_json(folder / CONFIG) and not has_tokenizer:
        rule = "a tokenizer of code of its own (auto_map), which is never run"
        raise InputError(folder.name, rule, "use a model with a tokenizer.json", "model")


def _is_known(kind: str) -> bool:
    """Whether transformers has a model of this type, found without importing it."""
    spec = importlib.util.find_spec("transformers")
    name = kind.replace("-", "_")
    roots = (
        [Path(root, "models") for root in (spec.submodule_search_locations or [])] if spec else []
    )
    own = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    return name in own or any(name.startswith(f"{known}_") for known in own)


def _check_layers(folder: Path, config: dict[str, Any]) -> None:
    """Layers of which the files hold no weight at all; single ones are missed as it is loaded."""
    count = next((config[name] for name in LAYERS if isinstance(config.get(name), int)), 0)
    there = {int(found[1]) for name in weight_names(folder) if (found := LAYER.search(name))}
    missing = sorted(set(range(count)) - there)
    if there and missing:
        shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
        rule = f"{len(missing)} of its {count} layers are missing from its files: {shown}"
        raise InputError(folder.name, rule, "get the model's files again", "model")


def weight_names(folder: Path) -> Iterator[str]:
    """The names of the weights in a folder's files, of their headers."""
    indexes = list(folder.glob(INDEXES))
    for index in indexes:
        yield from read_json(index).get("weight_map") or {}
    for path in () if indexes else sorted(folder.glob(WEIGHTS)):
        yield from header(path)


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: 8 bytes of its length, then JSON."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER + 1
        text = file.read(length) if length <= MAX_HEADER else b""
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise InputError(
        path, "no safetensors file: its header cannot be read", "get it again", "model"
    )


def _check_places(path: Path) -> None:
    """The places that a header gives its tensors are those of the file: one after the other, each
    as long as its shape and type say.
    """
    found = header(path)
    found.pop("__metadata__", None)
    try:
        tensors = sorted((*map(int, t["data_offsets"]), _bytes_of(t)) for t in found.values())
        ends = [0, *(end for _, end, _ in tensors)]
        is_whole = all(
            begin == before and size in (None, end - begin)
            for before, (begin, end, size) in zip(ends, tensors, strict=False)
        )
        with path.open("rb") as file:
            start = 8 + struct.unpack("<Q", file.read(8))[0]
        is_whole = is_whole and start + ends[-1] == path.stat().st_size
    except (LookupError, TypeError, ValueError, AttributeError):
        is_whole = False
    if not is_whole:
        rule = "its header does not say what is in the file"
        raise InputError(path, rule, "get it again", "model")


def _bytes_of(tensor: dict[str, Any]) -> int:
    """How long a tensor is by its shape and type, of which the digits are bits."""
    bits = re.search(r"\d+", tensor["dtype"])
    return prod(tensor["shape"]) * (int(bits[0]) if bits else 8) // 8


def _check_end(folder: Path, template: Template) -> None:
    if "eos_token" in special_tokens(folder):
        return
    if not any(
        token.strip() and token in template.traits.closing for token in added_tokens(folder)
    ):
        rule = "neither its chat template nor its tokenizer has a token that ends an answer"
        fix = "name an eos_token in its tokenizer_config.json"
        raise InputError(folder.name, rule, fix, "model")
