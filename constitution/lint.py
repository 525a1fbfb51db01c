"""Everything that is wrong or odd in a constitution file, not only the first fault."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from constitution.errors import ConstitutionError, shown
from constitution.lint_examples import example_notes, likeness, words
from constitution.lint_reach import Note, reach_notes
from constitution.parse import parse
from constitution.schema import Constitution
from constitution.source import at

LONG = 800  # characters of one text; longer ones crowd out the response in a small context
ALIKE = 0.9  # likeness of two principles' words above which they say the same


@dataclass(frozen=True)
class Finding:
    """One thing to look at. An "error" keeps the file from loading, a "warning" does not."""

    level: Literal["error", "warning"]
    where: str  # file:line
    message: str  # value: rule; fix

    def __str__(self) -> str:
        return f"{self.where}: {self.level}: {self.message}"


def lint(path: str | Path, categories: Collection[str | None] | None = None) -> list[Finding]:
    """Return all findings in file order; an empty list means the file is clean.

    With `categories`, those of the prompts in use (None stands for prompts without one), it also
    warns of what these prompts cannot get. Warnings are looked for only in a file that loads.
    """
    path = Path(path)
    parsed = parse(path)
    if parsed.constitution is None:
        return [Finding("error", error.where, error.message) for error in _by_line(parsed.errors)]
    warnings = itertools.chain(
        _alike(parsed.constitution),
        _principles(parsed.constitution),
        example_notes(parsed.constitution),
        reach_notes(parsed.constitution, parsed.round_lines, categories),
    )
    return [Finding("warning", at(path, line), message) for line, message in sorted(warnings)]


def _by_line(errors: list[ConstitutionError]) -> list[ConstitutionError]:
    """Return the errors in the order of their lines."""
    return sorted(errors, key=lambda error: int(error.where.rpartition(":")[2]))


def _alike(constitution: Constitution) -> Iterator[Note]:
    rows = [(p, words(f"{p.critique} {p.revision}")) for p in constitution.principles]
    for (first, a), (second, b) in itertools.combinations(rows, 2):
        if likeness(a, b) > ALIKE:
            fault = f"asks nearly the same as {first.slug!r}; merge the two"
            yield second.line, f"{shown(second.slug)}: {fault}"


def _principles(constitution: Constitution) -> Iterator[Note]:
    for p in constitution.principles:
        if not p.enabled:
            yield p.line, f"{shown(p.slug)}: the principle is disabled; enable or remove it"
        if not p.comparison.endswith("?"):
            yield p.line, f"{shown(p.comparison)}: a comparison asks a question; end it with ?"
        for key in ("critique", "revision", "comparison"):
            if (length := len(getattr(p, key))) > LONG:
                yield p.line, f"{length}: {key} has more than {LONG} characters; shorten it"
