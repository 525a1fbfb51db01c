"""Columns of people's sets that a recipe names otherwise: of the prompt and of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.errors import InputError
from tasks.judging.pair_forms import DEMONSTRATED, LABELLED, PREFERRED
from tasks.prompts.columns import READ_COLUMNS, no_column, renamed

ANSWER_COLUMNS = frozenset(
    {
        *(name for pair in PREFERRED for name in pair),
        *(name for first, second, label, *_ in LABELLED for name in (first, second, label)),
        *DEMONSTRATED,
        "completions",
        "principle",
    }
)

Names = Mapping[str, str | None]


def check_names(columns: Names, where: str) -> None:
    """Raise InputError for a name that none of our columns has."""
    known = READ_COLUMNS | ANSWER_COLUMNS
    for ours in columns:
        if ours not in known:
            fix = f"write {{ours: theirs}}, ours one of {', '.join(sorted(known))}"
            raise InputError(ours, "no column of ours has this name", fix, where)


def asked_row(row: dict[str, Any], columns: Names) -> dict[str, Any]:
    """The row in which to look for the prompt. Raises RowError where a column is not there."""
    return renamed(row, {k: v for k, v in columns.items() if k not in ANSWER_COLUMNS})


def answered_row(row: dict[str, Any], columns: Names) -> dict[str, Any]:
    """The row in which to look for the answers; columns in any case, where none is as ours.

    Raises RowError where a column that is named is not there.
    """
    own = {ours: theirs for ours, theirs in columns.items() if ours in ANSWER_COLUMNS}
    if any(theirs and theirs not in row for theirs in own.values()):
        raise no_column(row)
    if own:
        kept = {name: value for name, value in row.items() if name not in own}
        return kept | {ours: row[theirs] for ours, theirs in own.items() if theirs}
    if ANSWER_COLUMNS & set(row):
        return row
    return {str(name).strip().casefold(): value for name, value in row.items()}
