"""Model folders on disk: their digests, their manifest, and how one appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from storage.durable import replace_text, sealed
from storage.errors import InputError
from storage.ids import content_id
from storage.workspace import Workspace

MANIFEST = "MODEL.json"
WEIGHTS = "*.safetensors"
INDEXES = "*.safetensors.index.json"
SETTINGS = ("*.json", "*.jinja", "tokenizer.model", "*.txt")


def publish(aside: Path, folder: Path) -> None:
    """Rename `aside` to `folder`, over a torn one there; another process's whole one stays."""
    if folder.exists() and sealed(folder, MANIFEST) is None:
        torn = aside.with_name(aside.name + "-torn")
        folder.rename(torn)
        shutil.rmtree(torn, ignore_errors=True)
    try:
        aside.rename(folder)
    except OSError:
        if sealed(folder, MANIFEST) is None:
            raise


class Digests:
    """BLAKE2b-128 of files, remembered by path, size and time of change in models/digests.json."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.models / "digests.json"
        self._new: dict[str, list[Any]] = {}
        self._known = self._read()

    def of(self, path: Path) -> str:
        """32 hexadecimal digits."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = self._known.get(str(path))
        if entry is None or entry[:2] != stamp:
            with path.open("rb") as file:
                made = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            entry = [*stamp, made.hexdigest()]
            self._known[str(path)] = self._new[str(path)] = entry
        return str(entry[2])

    def save(self) -> None:
        """Keep what was hashed since; another process's entries are kept too."""
        if self._new:
            replace_text(self._path, json.dumps({**self._read(), **self._new}, indent=1))

    def _read(self) -> dict[str, list[Any]]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}


def folder_id(folder: Path, digests: Digests) -> str:
    """The id of a folder's weights, tokenizer and settings.

    InputError if it holds no safetensors, or names weights that are not among them.
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder", "check the path")
    if (folder / "adapter_config.json").is_file():
        rule = "an adapter, whose base would be looked for elsewhere"
        raise InputError(folder, rule, "merge it into its base, or use checkpoint:ID")
    if not any(folder.glob(WEIGHTS)):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        rule = "only pickled weights, which are never loaded"
        fix = "save the model with save_pretrained (model.safetensors)"
        raise InputError(folder, rule if pickled else "no safetensors weights", fix)
    if not (folder / "config.json").is_file():
        raise InputError(folder, "no config.json", "give a folder written by save_pretrained")
    for index in folder.glob(INDEXES):
        _check_index(index)
    _check_config(folder / "config.json")
    return content_id("model", ["folder", _digests_of(folder, (WEIGHTS, *SETTINGS), digests)])


def _check_config(path: Path) -> None:
    """Raise InputError where the settings name weights themselves, which may lie anywhere."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        named = config.get("transformers_weights")
    except (OSError, ValueError, AttributeError, RecursionError):
        rule = "no settings of a model that can be read"
        raise InputError(path, rule, "save the model with save_pretrained") from None
    if named is not None:
        rule = "transformers_weights: a model's weights are the .safetensors of its folder"
        raise InputError(str(named), rule, "remove this key", where=str(path))


def _check_index(index: Path) -> None:
    """Raise InputError unless an index of weights names safetensors beside it only."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        rule = "no index of weights that can be read"
        raise InputError(index, rule, "save the model with save_pretrained") from None
    beside = {path.name for path in index.parent.glob(WEIGHTS) if path.is_file()}
    if wrong := sorted(map(str, names - beside)):
        rule = "names weights that are no .safetensors file of its folder"
        raise InputError(wrong[0], rule, "save the model with save_pretrained", where=str(index))


def adapter_id(folder: Path, base_id: str, digests: Digests) -> str:
    """The id of an adapter: its files plus its base's id."""
    if not (folder / "adapter_config.json").is_file():
        raise InputError(folder, "no adapter_config.json", "run `solon doctor`, or train it again")
    return content_id("model", ["adapter", _digests_of(folder, ("*",), digests), base_id])


def _digests_of(folder: Path, patterns: Iterable[str], digests: Digests) -> dict[str, str]:
    """File name to digest, of the files right in `folder` that match; our manifest is no part."""
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {path.name: digests.of(path) for path in sorted(paths) if path.name != MANIFEST}
