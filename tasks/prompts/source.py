"""The files behind a source of prompts: a path, a saved data set, the hub, or our own.

Data sets that the `datasets` library saved are read without it, from their Arrow stream files;
those on the hub from their Parquet (or JSON Lines, or CSV) files, first as published, then as the
hub's own conversion to Parquet.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from storage.errors import InputError
from storage.nearest import meant
from tasks.prompts.files import SUFFIXES

_WORDS = Path(__file__).resolve().parents[2] / "constitution"
OWN = {"default": _WORDS / "prompts.jsonl", "everyday": _WORDS / "everyday.jsonl"}
_PARQUET_BRANCH = "refs/convert/parquet"
_HUB_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
_HUB_NAME = re.compile(r"hub:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<split>[\w.-]+))?")


def files_of(source: str) -> list[tuple[str, Path]]:
    """The files behind `source`, each with the label that its rows carry."""
    if source in OWN:
        return [(source, OWN[source])]
    if source.startswith("hub:"):
        files = _hub_files(source)
    elif source and Path(source).is_dir():
        files = _saved_files(Path(source))
    elif source and Path(source).exists():
        return [(source, Path(source))]
    else:
        raise _missing(source)
    return [(f"{source}#{path.name}", path) for path in files]


def _missing(source: str) -> InputError:
    """Where a file was looked for, and the one that is meant."""
    path = Path(source).expanduser().absolute()
    try:
        there = [other.name for other in path.parent.iterdir()]
    except OSError:
        there = []
    fix = 'give a path, "default", "everyday" or "hub:<dataset>[:split]"'
    rule = f"is no file or folder that exists in {path.parent}"
    return InputError(source, rule, meant(path.name, [*there, *OWN], fix))


def _saved_files(folder: Path) -> list[Path]:
    """Arrow files of a folder written by `datasets.save_to_disk`, in row order.

    Of several splits `train` is taken; name another split's own folder to take that one.
    Raises InputError where the folder is no such data set or a file of it is missing.
    """
    state = folder / "state.json"
    if (folder / "dataset_dict.json").is_file():
        splits = _read_json(folder / "dataset_dict.json").get("splits", [])
        chosen = splits[0] if len(splits) == 1 else "train"
        if chosen not in splits:
            rule = f"has the splits {', '.join(splits)}"
            raise InputError(folder, rule, "name one split's folder")
        state = folder / chosen / "state.json"
    if not state.is_file():
        rule = "is a folder, but none that datasets.save_to_disk wrote"
        fix = f"give a file ({', '.join(SUFFIXES)}) or a saved data set"
        raise InputError(folder, rule, fix)
    listed = _read_json(state).get("_data_files", [])
    return [state.parent / Path(str(item["filename"])).name for item in listed]


def _hub_files(source: str) -> list[Path]:
    """Local copies of the files of "hub:<dataset>[:split]" (split: train), downloaded if need be.

    Raises InputError where the name is malformed, the hub is not reached (and nothing is cached),
    or the data set has no file of that split that can be read.
    """
    match = _HUB_NAME.fullmatch(source)
    if not match:
        raise InputError(source, "is not hub:<dataset>[:split]", "write hub:owner/name:train")
    split = match["split"] or "train"
    for revision in (None, _PARQUET_BRANCH):
        folder = _download(source, match["name"], split, revision)
        files = []
        for path in folder.rglob("*"):
            words = re.split(r"[/._-]", path.relative_to(folder).as_posix())
            if path.is_file() and split in words:
                files.append(path)
        for suffix in _HUB_SUFFIXES:
            kind = sorted(p for p in files if p.name.removesuffix(".gz").endswith(suffix))
            if kind:
                return kind
    raise InputError(source, f"has no readable file of split {split}", "name another split")


def _download(source: str, name: str, split: str, revision: str | None) -> Path:
    """The folder of a snapshot that holds the files of `split`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = [f"*{split}*{suffix}{gz}" for suffix in _HUB_SUFFIXES for gz in ("", ".gz")]
    try:
        wanted: dict[str, Any] = {"revision": revision, "allow_patterns": patterns}
        return Path(snapshot_download(name, repo_type="dataset", **wanted))
    except (OSError, HFValidationError) as error:  # the hub's own errors are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        rule = f"cannot be had from the hub ({reason})"
        fix = "check the name and the network, or give a local file"
        raise InputError(source, rule, fix) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, "is not readable JSON", "save the data set again") from error
    return value if isinstance(value, dict) else {}
