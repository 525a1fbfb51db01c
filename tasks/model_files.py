"""Model folders on disk: their digests, their manifest, and how one appears whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from storage import digests
from storage.errors import InputError
from storage.ids import content_id, is_id
from storage.seals import sealed
from storage.workspace import MODEL_MANIFEST, Workspace

MANIFEST = MODEL_MANIFEST
DRAFT = "model-"  # begins the names of folders in tmp/ in which models are made
WEIGHTS = "*.safetensors"
INDEXES = "*.safetensors.index.json"
SETTINGS = ("*.json", "*.jinja", "tokenizer.model", "*.txt")


@contextmanager
def draft(workspace: Workspace) -> Iterator[Path]:
    """A new folder in which a model is made, gone after the block. While it is held (`flock`, which
    the kernel ends with its process) nobody else clears it away.
    """
    name = uuid.uuid4().hex
    folder = workspace.tmp / f"new-{name}"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # of a file system without locks, where none is cleared
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = folder.rename(workspace.tmp / f"{DRAFT}{name}")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def clear_drafts(workspace: Workspace) -> None:
    """Delete the drafts of models whose process was killed."""
    for folder in () if workspace.tmp.is_symlink() else workspace.tmp.glob(f"{DRAFT}*"):
        with suppress(OSError):  # somebody is at it, or has just published it
            descriptor = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def publish(aside: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    """Rename `aside` to `folder`, over a torn one there; another process's whole one stays."""
    if folder.exists() and not is_whole(folder):
        torn = aside.with_name(aside.name + "-torn")
        folder.rename(torn)
        shutil.rmtree(torn, ignore_errors=True)
    try:
        aside.rename(folder)
    except OSError:
        if not is_whole(folder):
            raise


class HasDigests(Protocol):
    """Tells the BLAKE2b-128 of a file."""

    def of(self, path: Path) -> str: ...


class Digests(digests.Digests):
    """BLAKE2b-128 of a model's files, kept in models/digests.json."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace.models / "digests.json", "blake2b")


def whole(folder: Path, digests: HasDigests) -> dict[str, Any] | None:
    """What the manifest of a model's folder in the workspace says; None where it is torn, or holds
    what was not written there: a conversion by the digests in its seal, a download by its id.
    """
    found = sealed(folder, MANIFEST, digests.of)
    if found is None or is_id(folder.name):
        return found if found and found.get("model_id") == folder.name else None
    try:
        is_same = folder_id(folder, digests) == found.get("model_id")
    except InputError:
        is_same = False
    return found if is_same else None


def folder_id(folder: Path, digests: HasDigests) -> str:
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


def adapter_id(folder: Path, base_id: str, digests: HasDigests) -> str:
    """The id of an adapter: its files plus its base's id."""
    if not (folder / "adapter_config.json").is_file():
        raise InputError(folder, "no adapter_config.json", "run `solon doctor`, or train it again")
    return content_id("model", ["adapter", _digests_of(folder, ("*",), digests), base_id])


def _digests_of(folder: Path, patterns: Iterable[str], digests: HasDigests) -> dict[str, str]:
    """File name to digest, of the files right in `folder` that match; our manifest is no part."""
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {path.name: digests.of(path) for path in sorted(paths) if path.name != MANIFEST}
