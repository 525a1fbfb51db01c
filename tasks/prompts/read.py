"""Read prompts from where someone points: `read_prompts` is the one way in.

A bad row becomes an Exclusion and the rest goes on; a bad source raises InputError before anything
is written anywhere.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import InputError
from tasks.prompts.files import iter_rows
from tasks.prompts.rows import Exclusion, Prompt, RowError, to_prompt
from tasks.prompts.saved import hub_files, saved_files

DEFAULT_SOURCE = Path(__file__).resolve().parents[2] / "constitution" / "prompts.jsonl"
DEFAULT_MAX_CHARS = 20_000


@dataclass(frozen=True)
class PromptBatch:
    """What a source gave: usable prompts and, for every other row that was read, the reason."""

    prompts: list[Prompt] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)


def read_prompts(
    source: str, limit: int | None = None, max_chars: int = DEFAULT_MAX_CHARS
) -> PromptBatch:
    """The first `limit` usable prompts of `source` in file order (None: all), each only once.

    source: "default" (the project's own prompts); a .jsonl, .json, .csv, .parquet or .arrow file,
    also with .gz; a folder written by `datasets.save_to_disk`; or "hub:<dataset>[:split]".
    max_chars: the most characters all turns of one prompt may have together.
    Reading stops when `limit` is reached, so rows after it are neither used nor excluded.
    Raises InputError (value, rule, fix) where the source as a whole cannot be used.
    """
    for name, value in (("limit", limit), ("max_chars", max_chars)):
        if value is not None and value < 1:
            raise InputError(value, f"{name} must be at least 1", f"give a larger {name}")
    batch, seen = PromptBatch(), set()
    rows = ((label, *row) for label, path in _files(source) for row in iter_rows(path))
    for label, line, row in rows:
        try:
            if isinstance(row, RowError):
                raise row
            prompt = to_prompt(row, label, line, max_chars)
            if prompt.prompt_id in seen:
                raise RowError("duplicate", "the same messages came before")
            seen.add(prompt.prompt_id)
            batch.prompts.append(prompt)
        except RowError as error:
            batch.exclusions.append(Exclusion(label, line, error.reason, _plain(error.detail)))
        if len(batch.prompts) == limit:
            break
    if not batch.prompts:
        raise _nothing_usable(source, batch.exclusions)
    return batch


def _files(source: str) -> list[tuple[str, Path]]:
    """The files behind `source`, each with the label that its rows carry."""
    if source == "default":
        return [(source, DEFAULT_SOURCE)]
    if source.startswith("hub:"):
        files = hub_files(source)
    elif source and Path(source).is_dir():
        files = saved_files(Path(source))
    elif source and Path(source).exists():
        return [(source, Path(source))]
    else:
        fix = 'give a path, "default" or "hub:<dataset>[:split]"'
        raise InputError(source, "is no file or folder that exists", fix)
    return [(f"{source}#{path.name}", path) for path in files]


def _nothing_usable(source: str, exclusions: list[Exclusion]) -> InputError:
    counts = Counter(exclusion.reason for exclusion in exclusions)
    shown = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    first = f"; row {exclusions[0].line}: {exclusions[0].detail}" if exclusions else ""
    rule = f"holds no usable prompt in {len(exclusions)} rows ({shown or 'no rows'}{first})"
    fix = "give rows with a prompt, messages, chosen, instruction, question, input, turns or text"
    return InputError(source, rule, fix)


def _plain(detail: str) -> str:
    """One line of well-formed text: details may quote a broken row."""
    return " ".join(detail.encode("utf-8", "replace").decode().replace("\0", "?").split())[:200]
