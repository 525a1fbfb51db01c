"""A checkpoint as a folder for other programs: its adapter, or one model of plain safetensors.

The folder is written aside and put in place whole. MARK tells a folder of ours, which a later
export may replace, from anything else, which is never touched.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from flows.plan.subjects import Base, Subject
from storage.errors import InputError
from storage.seals import seal
from storage.workspace import Workspace
from tasks import models
from tasks.process import run_job

MARK = "EXPORT.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.jinja",
    "generation_config.json",
)
"""Of a base's folder, what goes with an adapter."""


def export_model(
    subject: Subject,
    out: Path,
    workspace: Workspace,
    card: Callable[[Path, str | None], str],
    *,
    merged: bool,
    is_here: bool = False,
) -> None:
    """Write the model of a checkpoint to `out`: a new or empty folder, or an export to replace.

    card: from the base's folder, and a merged model's number type, the text of README.md. is_here:
    an adapter names its base by its folder on this machine, which no other can read.
    Raises InputError where the folder is not ours.
    """
    check_target(out)
    base = models.prepare(subject.base.reference, workspace).path
    aside = out.absolute().with_name(f".{out.name[:50]}.{uuid.uuid4().hex[:8]}.tmp")
    with ExitStack() as clean:
        clean.callback(shutil.rmtree, aside, ignore_errors=True)
        aside.mkdir(parents=True)
        dtype = None
        if merged:
            dtype = _merge(subject, base, aside, workspace)
        else:
            assert subject.adapter is not None
            _copy(subject.adapter, ("*.safetensors",), aside)
            _copy(base, TOKENIZER, aside)
            _adapter_config(subject.base, subject.adapter, aside, base if is_here else None)
        (aside / "README.md").write_text(card(base, dtype), encoding="utf-8")
        own, base_name = subject.checkpoint_id, subject.base.public_name
        seal(aside, MARK, checkpoint_id=own, base=base_name, is_merged=merged)
        check_target(out)  # again: something may have come meanwhile
        if out.exists():
            shutil.rmtree(out)
        aside.rename(out)


def check_target(out: Path) -> None:
    """Raise InputError unless `out` is new, empty, or an export in which nothing else lies."""
    if not out.exists() and not out.is_symlink():
        return
    rule, fix = "the folder must be new, empty or an export of ours", "name another"
    if out.is_symlink() or not out.is_dir():
        raise InputError(str(out), rule, fix, "--out")
    found = {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()}
    if not found:
        return
    try:
        ours = {*json.loads((out / MARK).read_text(encoding="utf-8"))["files"], MARK}
    except (OSError, ValueError, LookupError, TypeError):
        ours = set()
    if others := sorted(found - ours):
        raise InputError(str(out), f"{rule}, and has {others[0]}", fix, "--out")


def _merge(subject: Subject, base: Path, out: Path, workspace: Workspace) -> str:
    """A worker writes the merged model and its tokenizer; returns the number type of its files."""
    settings = subject.base
    spec = {
        "job": "merge",
        "model": {
            "path": str(base),
            "quantization": settings.quantization,
            "dtype": settings.compute,
        },
        "adapter": str(subject.adapter),
        "out": str(out),
        "threads": settings.threads,
    }
    return str(run_job(spec, workspace.logs / "merge.log")["dtype"])


def _copy(source: Path, patterns: Sequence[str], out: Path) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            shutil.copyfile(path, out / path.name)


def _adapter_config(base: Base, adapter: Path, out: Path, folder: Path | None) -> None:
    """The adapter's settings, its base named as others find it: a hub model with its revision.

    folder: where the base is named by it.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    known = models.parse(base.reference)
    is_hub = known.kind == "hub"
    config["base_model_name_or_path"] = known.value if is_hub else base.public_name
    config["revision"] = known.detail if is_hub else None
    if folder:
        config |= {"base_model_name_or_path": str(folder), "revision": None}
    text = json.dumps(config, indent=2, sort_keys=True)
    (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
