"""Model references: what a name means, what its content is, and how it becomes a folder of weights.

    owner/name, owner/name@revision    a model on the hub
    ./folder, ~/folder, /folder        a folder of safetensors
    package:module/file.gguf           weights that an installed Python package carries
    checkpoint:ID, checkpoint:REF      a trained adapter on its base
    random:tiny                        a tiny random Llama, for trials and tests

`identify` never converts, downloads or writes, so that a plan can use it; `prepare` does what is
missing. A model's id is the digest of what its weights and tokenizer come from: for a package the
GGUF file and the version of the conversion, so it is known before the conversion. Imports neither
torch nor transformers.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.errors import InputError
from storage.ids import content_id, is_id
from storage.nearest import meant
from storage.seals import seal
from storage.workspace import Workspace
from tasks.model_files import (
    MANIFEST,
    Digests,
    HasDigests,
    adapter_id,
    draft,
    folder_id,
    publish,
    whole,
)
from tasks.process import Event, run_job

Kind = Literal["hub", "folder", "package", "checkpoint", "random"]
# id or ref -> (checkpoint id, adapter folder, base reference); InputError if unknown
FindCheckpoint = Callable[[str], tuple[str, Path, str]]
CONVERSION = 1  # counts up when `tasks.convert` would write other weights from the same source
FOUR_KINDS = "use owner/name[@revision], ./folder, package:module/file.gguf or checkpoint:ID"


@dataclass(frozen=True)
class Reference:
    """A parsed reference. `value` is the repository, path, module, checkpoint or recipe it names;
    `detail` is a hub model's revision or a package's file, else empty."""

    kind: Kind
    text: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """What a reference stands for. `model_id` is None while it cannot be known (not downloaded)."""

    model_id: str | None
    kind: Kind
    name: str
    base_model_id: str | None = None
    checkpoint_id: str | None = None


@dataclass(frozen=True)
class PreparedModel:
    """A model ready to load: a folder of safetensors, and a checkpoint's LoRA adapter on top."""

    model_id: str
    path: Path
    adapter: Path | None
    name: str


def _no_checkpoints(ref: str) -> tuple[str, Path, str]:
    rule = "there is no ledger to look it up in"
    raise InputError(f"checkpoint:{ref}", rule, "use another reference")


LONGEST = 1024  # letters of a reference: no file system has longer names


def parse(reference: str) -> Reference:
    """Read a reference; InputError if it is of no kind. Whether it exists is looked at later."""
    text = reference.strip()
    if len(text) > LONGEST:
        raise InputError(text, f"a model reference has at most {LONGEST} letters", FOUR_KINDS)
    prefix, _, rest = text.partition(":")
    if prefix == "package":
        module, _, file = rest.partition("/")
        fix = "use package:module/file.gguf"
        if not re.fullmatch(r"[A-Za-z_]\w*", module) or not file.endswith(".gguf"):
            raise InputError(text, "not a model in a package", fix)
        if "\\" in file or any(part in ("", ".", "..") for part in file.split("/")):
            raise InputError(text, "the file must lie inside the package", fix)
        return Reference("package", text, module, file)
    if prefix == "checkpoint" and re.fullmatch(r"[\w.@/-]+", rest):
        return Reference("checkpoint", text, rest)
    if text == "random:tiny":
        return Reference("random", text, rest)
    if text.startswith((".", "~", "/")) or (text and Path(text).exists()):
        return Reference("folder", text, str(Path(text).expanduser().absolute()))
    if match := re.fullmatch(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w./-]+))?", text):
        return Reference("hub", text, match[1], match[2] or "main")
    known = ["random:tiny", f"checkpoint:{rest}", f"package:{rest}"] if rest else []
    raise InputError(reference, "not a model reference", meant(text, known, FOUR_KINDS))


def identify(
    reference: str,
    workspace: Workspace,
    find_checkpoint: FindCheckpoint = _no_checkpoints,
    digests: HasDigests | None = None,
) -> ModelInfo:
    """What a reference stands for, without converting, downloading or writing anything.

    InputError if it names nothing. Hashes weights that `prepare` has not hashed yet (about 1 GB/s).
    """
    found, digests = parse(reference), digests or Digests(workspace)
    if found.kind == "checkpoint":
        checkpoint_id, adapter, base_reference = find_checkpoint(found.value)
        base = identify(base_reference, workspace, find_checkpoint, digests)
        model_id = adapter_id(adapter, base.model_id, digests) if base.model_id else None
        name = f"{base.name} + {checkpoint_id}"
        return ModelInfo(model_id, found.kind, name, base.model_id, checkpoint_id)
    if found.kind == "folder":
        folder = Path(found.value)
        return ModelInfo(folder_id(folder, digests), found.kind, folder.name)
    if found.kind == "hub":
        manifest = whole(_hub_folder(found, workspace), digests)
        name = f"{found.value}@{found.detail}"
        return ModelInfo(manifest["model_id"] if manifest else None, found.kind, name)
    content = ["random", found.value, CONVERSION]
    if found.kind == "package":
        content = ["gguf", digests.of(_package_file(found)), CONVERSION]
    return ModelInfo(content_id("model", content), found.kind, found.text)


def there(
    reference: str, workspace: Workspace, find_checkpoint: FindCheckpoint = _no_checkpoints
) -> Path | None:
    """The folder that `prepare` would give, if it is there; of a checkpoint its base's."""
    found = parse(reference)
    if found.kind == "checkpoint":
        return there(find_checkpoint(found.value)[2], workspace, find_checkpoint)
    if found.kind == "folder":
        return Path(found.value)
    folder = workspace.models / str(identify(reference, workspace).model_id)
    folder = _hub_folder(found, workspace) if found.kind == "hub" else folder
    return folder if whole(folder, Digests(workspace)) is not None else None


def prepare(
    reference: str,
    workspace: Workspace,
    on_event: Callable[[Event], None] = lambda event: None,
    find_checkpoint: FindCheckpoint = _no_checkpoints,
) -> PreparedModel:
    """Make a reference loadable: convert or download what is missing, once.

    InputError if it names nothing or the hub is out of reach; WorkerError if the conversion fails.
    """
    found, adapter = parse(reference), None
    workspace.create()
    if found.kind == "checkpoint":
        _, adapter, base_reference = find_checkpoint(found.value)
        folder = prepare(base_reference, workspace, on_event, find_checkpoint).path
    elif found.kind == "folder":
        folder = Path(found.value)
    else:
        folder = _built(found, workspace, on_event)
    digests = Digests(workspace)
    info = identify(reference, workspace, find_checkpoint, digests)
    digests.save()
    return PreparedModel(str(info.model_id), folder, adapter, info.name)


def _built(found: Reference, workspace: Workspace, on_event: Callable[[Event], None]) -> Path:
    """The folder of a model, made by a worker unless it is there: written aside, then renamed."""
    digests = Digests(workspace)
    known = identify(found.text, workspace, digests=digests)
    digests.save()
    folder, source = workspace.models / str(known.model_id), {"kind": "random"}
    if found.kind == "hub":
        folder = _hub_folder(found, workspace)
        source = {"kind": "hub", "repo": found.value, "revision": found.detail}
    elif found.kind == "package":
        source = {"kind": "gguf", "path": str(_package_file(found))}
    if _is_proven(folder, digests):
        digests.save()
        return folder
    with draft(workspace) as aside:
        is_hub = found.kind == "hub"
        spec = {"job": "convert", "source": source, "out": str(aside), "online": is_hub}
        try:
            run_job(spec, workspace.logs / "convert.log", on_event)
        except InputError as error:
            if not folder.exists():
                raise
            rule = f"its files here are damaged, and {error.rule}"
            raise InputError(found.text, rule, error.fix) from error
        shutil.rmtree(aside / ".cache", ignore_errors=True)  # the hub client's bookkeeping
        model_id = known.model_id or folder_id(aside, Digests(workspace))
        seal(aside, MANIFEST, model_id=model_id, name=known.name)
        publish(aside, folder, lambda there: _is_proven(there, Digests(workspace)))
    return folder


def _is_proven(folder: Path, digests: Digests) -> bool:
    """Whether a folder holds what was written there. A conversion from before they had digests
    proves nothing, and is made again.
    """
    found = whole(folder, digests)
    return found is not None and ("blake2b" in found or not is_id(folder.name))


def _package_file(reference: Reference) -> Path:
    """The GGUF file inside the installed package, without importing the package."""
    spec = importlib.util.find_spec(reference.value)
    roots = list(spec.submodule_search_locations or []) if spec else []
    for root in roots:
        path = Path(root, *reference.detail.split("/"))
        if path.is_file():
            return path
    rule = "the package has no such file" if roots else "the package is not installed"
    raise InputError(reference.text, rule, f"install the package that carries {reference.detail}")


def _hub_folder(reference: Reference, workspace: Workspace) -> Path:
    return workspace.models / f"hub--{reference.value}--{reference.detail}".replace("/", "--")
