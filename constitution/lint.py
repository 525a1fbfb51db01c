"""Everything that is wrong or odd in a constitution file, not only the first fault.

Odd are principles that say the same, worked examples that would teach a model the wrong form of a
critique or a revision, and what no prompt can get. That an example keeps its principle's check is
seen here and not when the file is read, for that loads the libraries of the checks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from constitution.assign import applicable
from constitution.errors import shown
from constitution.parse import parse
from constitution.schema import Constitution, Example, Principle, WorkedAnswer
from constitution.source import at
from constitution.teacher import keeps

LONG = 800  # characters of one text; longer ones crowd out the response in a small context
ALIKE = 0.9  # likeness of two principles' words above which they say the same
COPIED = 0.8  # likeness of a critique to a response or revision above which it is one
LONG_CRITIQUE = 4  # times the longer of response and revision
SHORT = 300  # characters that a critique may have in any case

_PREAMBLE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok)\b[^\w\n]*)?here(?:'s|\u2019s| is| are)\b[^.\n]{0,40}"
    r"\b(?:revis\w+|rewrit\w+|response|answer|version|critique)\b"
    r"|(?:sure|certainly|of course|okay)!"
    r"|(?:(?:new|revised|rewritten|final|my|the) )*"
    r"(?:response|revision|answer|version|rewrite|critique|assistant)\s*:",
    re.I,
)

Note = tuple[int, str]  # 1-based line, message
Categories = Collection[str | None]  # None stands for prompts without a category


@dataclass(frozen=True)
class Finding:
    """One thing to look at. An "error" keeps the file from loading, a "warning" does not.

    A file with an example that breaks its own principle loads; no teacher is shown that example.
    """

    level: Literal["error", "warning"]
    where: str  # file:line
    message: str  # value: rule; fix

    def __str__(self) -> str:
        return f"{self.where}: {self.level}: {self.message}"


def lint(path: str | Path, categories: Categories | None = None) -> list[Finding]:
    """Return all findings in file order; an empty list means the file is clean.

    With `categories`, those of the prompts in use, it also warns of what these prompts cannot get.
    Warnings are looked for only in a file that loads.
    """
    path = Path(path)
    parsed = parse(path)
    constitution = parsed.constitution
    if constitution is None:
        return sorted((Finding("error", e.where, e.message) for e in parsed.errors), key=_line)
    warnings = itertools.chain(
        _alike(constitution),
        _principles(constitution),
        _worked_answers(constitution),
        _examples(constitution),
        _unreached(constitution, categories),
        _left_alone(constitution, parsed.round_lines, categories or ()),
    )
    errors = [Finding("error", at(path, line), text) for line, text in _broken(constitution)]
    odd = [Finding("warning", at(path, line), text) for line, text in sorted(warnings)]
    return sorted([*errors, *odd], key=_line)


def _line(finding: Finding) -> int:
    return int(finding.where.rpartition(":")[2])


def _words(text: str) -> frozenset[str]:
    """The words of a text, without regard to case."""
    return frozenset(re.findall(r"\w+", text.casefold()))


def _likeness(a: frozenset[str], b: frozenset[str]) -> float:
    """How alike two sets are, 0 to 1, after Sørensen and Dice: 2 |a and b| / (|a| + |b|)."""
    return 2 * len(a & b) / ((len(a) + len(b)) or 1)


def _alike(constitution: Constitution) -> Iterator[Note]:
    rows = [(p, _words(f"{p.critique} {p.revision}")) for p in constitution.principles]
    for (first, a), (second, b) in itertools.combinations(rows, 2):
        if _likeness(a, b) > ALIKE:
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


def _broken(constitution: Constitution) -> Iterator[Note]:
    """Examples of principles that break their own principle's check."""
    for principle in constitution.principles:
        for answer in principle.examples:
            if not keeps(answer, principle):
                fault = "breaks the check of its principle; mend it"
                yield answer.line, f"{shown(answer.response)}: {fault}"


def _worked_answers(constitution: Constitution) -> Iterator[Note]:
    """What keeps a principle's example from being shown together with other principles."""
    lines: dict[str, int] = {}
    for principle in constitution.enabled:
        others = [p for p in constitution.enabled if p is not principle]
        for answer in principle.examples:
            first = lines.setdefault(answer.prompt, answer.line)
            if first != answer.line:
                fault = f"the prompt is already answered at line {first}; keep one of the two"
                yield answer.line, f"{shown(answer.prompt)}: {fault}"
            yield from ((answer.line, note) for note in _beside(answer, others))


def _beside(answer: WorkedAnswer, others: Sequence[Principle]) -> Iterator[str]:
    for other in others:
        if not keeps(answer, other):
            fault = f"breaks the check of {other.slug!r} and is left out beside it; mend it"
            yield f"{shown(answer.response)}: {fault}"
    if (length := len(answer.prompt + answer.response)) > LONG:
        yield f"{length}: the example has more than {LONG} characters; shorten it"


def _examples(constitution: Constitution) -> Iterator[Note]:
    known = {p.slug: p for p in constitution.principles}
    for example in constitution.examples:
        principle = known.get(example.principle)
        name = shown(example.principle)
        if principle is None:
            yield example.line, f"{name}: the example names no principle; fix the name"
        elif not principle.enabled:
            yield example.line, f"{name}: the example's principle is disabled; enable it"
        yield from ((example.line, note) for note in _form(example))
    kept = [e for e in constitution.examples if e.revision.split() == e.response.split()]
    count = len(constitution.examples)
    if count > 1 and 2 * len(kept) > count:
        fault = "examples keep the response as it is; let most of them change it"
        yield kept[0].line, f"{len(kept)} of {count}: {fault}"


def _form(example: Example) -> Iterator[str]:
    for key in ("critique", "revision"):
        value = getattr(example, key)
        if _PREAMBLE.match(value):
            yield f"{shown(value)}: the {key} begins with a preamble; write the {key} alone"
    for key in ("response", "revision"):
        if _likeness(_words(example.critique), _words(getattr(example, key))) > COPIED:
            fault = f"the critique repeats the {key}; say what is wrong instead"
            yield f"{shown(example.critique)}: {fault}"
            break
    most = max(SHORT, LONG_CRITIQUE * max(len(example.response), len(example.revision)))
    if (length := len(example.critique)) > most:
        yield f"{length}: the critique has more than {most} characters; shorten it"


def _unreached(constitution: Constitution, categories: Categories | None) -> Iterator[Note]:
    """Principles that no prompt can get; without `categories`, by the rounds' policy only."""
    rounds = constitution.rounds
    for p in constitution.enabled:
        if rounds and not any(not tags or set(tags) & set(p.tags) for tags in rounds):
            fault = f"no prompt can get it in the {len(rounds)} listed rounds"
            yield p.line, f"{shown(p.slug)}: {fault}; name one of its tags in rounds"
        if categories is not None and set(categories) != {None}:
            yield from _without_prompts(p, categories)


def _without_prompts(principle: Principle, categories: Categories) -> Iterator[Note]:
    unknown = [c for c in principle.applies_to if c not in categories]
    if unknown and len(unknown) == len(principle.applies_to) and None not in categories:
        fault = "no prompt can get it, none has a category it applies to; fix applies_to"
        yield principle.line, f"{shown(principle.slug)}: {fault}"
        return
    for category in unknown:
        yield principle.line, f"{shown(category)}: no prompt has this category; fix applies_to"


def _left_alone(
    constitution: Constitution, round_lines: Sequence[int], categories: Categories
) -> Iterator[Note]:
    """A category that a round gives no principle would end a run."""
    policies = [*zip(constitution.rounds, round_lines, strict=True), ((), 1)]
    for category in sorted(c for c in categories if c is not None):
        for round, (tags, line) in enumerate(policies):
            if not applicable(constitution, category, tags):
                where = f"round {round}" if tags else "any round"
                fault = f"no principle applies to prompts of this category in {where}"
                yield line, f"{shown(category)}: {fault}; add one without applies_to"
