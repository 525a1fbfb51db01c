"""Read prompts from where someone points: `read_prompts` is the one way in.

A bad row becomes an Exclusion and the rest goes on; a bad source raises InputError before anything
is written anywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from storage.errors import InputError
from storage.nearest import meant
from tasks.prompts.columns import NO_COLUMN, READ_COLUMNS, renamed
from tasks.prompts.encoding import check_encoding
from tasks.prompts.files import iter_rows
from tasks.prompts.left_out import LeftOut, by_reason, rows_in
from tasks.prompts.rows import UNSPECIFIED, Exclusion, Prompt, prompt_in
from tasks.prompts.source import files_of
from tasks.prompts.turns import RowError


@dataclass(frozen=True)
class Reading:
    """How the rows of a source are to be understood.

    columns: {our name: theirs} where the source names a column otherwise; None: is not read.
    encoding: of text files. categories: False: those of the source are not read; or {theirs: ours}.
    max_chars: the most characters that all turns of one prompt may have together. tools: calls of
    tools are kept, as the models that are asked take them.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str = "utf-8"
    categories: Mapping[str, str] | bool = True
    max_chars: int = 20_000
    tools: bool = False

    def check(self) -> None:
        """Raise InputError for a value that can be none of any source."""
        if self.max_chars < 1:
            fix = "give a larger max_chars"
            raise InputError(self.max_chars, "max_chars must be at least 1", fix)
        check_encoding(self.encoding)
        for ours in self.columns:
            if ours not in READ_COLUMNS:
                names = ", ".join(sorted(READ_COLUMNS))
                fix = f"write {{ours: theirs}}, ours one of {names}"
                fix = meant(ours, READ_COLUMNS, fix)
                raise InputError(ours, "no column of ours has this name", fix, "prompts.columns")

    def prompt(self, row: Any, label: str, line: int) -> tuple[Prompt, list[str]]:
        """The prompt of a row, and what beside it is not used. Raises RowError."""
        if isinstance(row, RowError):
            raise row
        known = renamed(row, self.columns) if isinstance(row, dict) else row
        prompt, unused = prompt_in(known, label, line, self.max_chars, self.tools)
        if self.categories is True:
            return prompt, unused
        named = self.categories or {prompt.category: UNSPECIFIED}
        return replace(prompt, category=named.get(prompt.category, prompt.category)), unused


AS_IT_IS = Reading()


@dataclass(frozen=True)
class PromptBatch:
    """What a source gave: usable prompts and, for every other row that was read, the reason.

    `unused`: rows in which something beside the prompt is not used, by what and why. `columns`: the
    names of those that rows have, in order.
    """

    prompts: list[Prompt] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=dict)

    def with_more(self, other: PromptBatch) -> PromptBatch:
        """These prompts, then those of another source that are not among them."""
        known = {prompt.prompt_id for prompt in self.prompts}
        new = [prompt for prompt in other.prompts if prompt.prompt_id not in known]
        left_out = [
            Exclusion(p.source, p.line, "duplicate", "the same messages came before")
            for p in other.prompts
            if p.prompt_id in known
        ]
        return PromptBatch(
            [*self.prompts, *new],
            [*self.exclusions, *other.exclusions, *left_out],
            self.unused + other.unused,
            self.columns | other.columns,
        )

    @property
    def notes(self) -> list[str]:
        """What whoever gave the source should know before anything is spent, a line each."""
        beside = [f"not used beside {n} prompts: {what}" for what, n in self.unused.most_common()]
        rows = len(self.prompts) + rows_in(self.exclusions)
        return [*often_left_out(self.exclusions, rows), *beside]


def read_prompts(source: str, limit: int | None = None, reading: Reading = AS_IT_IS) -> PromptBatch:
    """The first `limit` usable prompts of `source` in file order (None: all), each only once.

    source: "default" or "everyday" (the project's own prompts); a file of one of files.SUFFIXES,
    also with .gz; a folder written by `datasets.save_to_disk`; or "hub:<dataset>[:split]".
    Reading stops when `limit` is reached, so rows after it are neither used nor excluded.
    Raises InputError (value, rule, fix) where the source as a whole cannot be used.
    """
    if limit is not None and limit < 1:
        raise InputError(limit, "limit must be at least 1", "give a larger limit")
    reading.check()
    batch, seen, left_out = PromptBatch(), set(), LeftOut()
    for label, line, row in _rows(source, reading):
        if isinstance(row, dict):
            batch.columns.update(dict.fromkeys(map(str, row)))
        try:
            prompt, unused = reading.prompt(row, label, line)
            if prompt.prompt_id in seen:
                raise RowError("duplicate", "the same messages came before")
            seen.add(prompt.prompt_id)
            batch.prompts.append(prompt)
            batch.unused.update(unused)
        except RowError as error:
            left_out.add(Exclusion(label, line, error.reason, _plain(error.detail)))
        if len(batch.prompts) == limit:
            break
    batch.exclusions.extend(left_out.rows)
    _check_found(source, batch, reading)
    return batch


def _rows(source: str, reading: Reading) -> Iterator[tuple[str, int, Any]]:
    """(label, line, row or RowError) of every row of the source's files."""
    wanted = None if reading.columns else READ_COLUMNS  # an error names them all
    for label, path in files_of(source):
        for line, row in iter_rows(path, wanted, reading.encoding):
            yield label, line, row


def _check_found(source: str, batch: PromptBatch, reading: Reading) -> None:
    """Raise InputError where there is no prompt, or not a column that was named."""
    there = list(batch.columns)[:20]
    for ours, theirs in reading.columns.items():
        if theirs and there and theirs not in batch.columns:
            fix = f"name another, as {_setting(ours, there[0])}"
            rule = f"no row has this column (there are: {', '.join(there)})"
            raise InputError(theirs, rule, fix, "prompts.columns")
    if not batch.prompts:
        first = batch.exclusions[0] if batch.exclusions else Exclusion("", 0, "", "")
        shown = _counted(batch.exclusions) or "no rows"
        shown += f"; row {first.line}: {first.detail}" if batch.exclusions else ""
        rule = f"holds no usable prompt in {rows_in(batch.exclusions)} rows ({shown})"
        raise InputError(source, rule, _advice(first, there, reading))


def _advice(first: Exclusion, there: list[str], reading: Reading) -> str:
    """What mends a source of which no row can be used, by its first."""
    if first.detail.startswith(NO_COLUMN) and there:
        return f"name the column that holds the prompt, as {_setting('prompt', there[0])}"
    if first.reason == "not_utf8":
        return f"name its encoding, as prompts.encoding=windows-1252 ({reading.encoding} was tried)"
    return "give rows with a prompt, messages, chosen, instruction, question, input, turns or text"


def _setting(ours: str, theirs: str) -> str:
    plain = theirs if theirs.replace("_", "").isalnum() else json.dumps(theirs, ensure_ascii=False)
    return f"prompts.columns={{{ours}: {plain}}}"


def often_left_out(exclusions: Sequence[Exclusion], rows: int) -> list[str]:
    """A line with the first three reasons, where over a tenth of the rows of a set is left out."""
    if rows_in(exclusions) * 10 <= rows:
        return []
    first = "; ".join(f"row {row.line}: {row.detail}" for row in exclusions[:3])
    left_out = f"{rows_in(exclusions)} of {rows} rows are left out ({_counted(exclusions)})"
    return [f"{exclusions[0].source}: {left_out}: {first}"]


def _counted(exclusions: Sequence[Exclusion]) -> str:
    counts = by_reason(exclusions).most_common()
    return ", ".join(f"{reason} {rows}" for reason, rows in counts)


def _plain(detail: str) -> str:
    """One line of well-formed text: details may quote a broken row."""
    return " ".join(detail.encode("utf-8", "replace").decode().replace("\0", "?").split())[:200]
