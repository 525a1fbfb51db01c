"""What changed between two constitutions, and what each change means for the rows."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import fields
from itertools import zip_longest
from typing import Any

from constitution.schema import Constitution, Example, Principle, WorkedAnswer
from flows.explain.compare.report import (
    EFFECTS,
    Change,
    ConstitutionDiff,
    Effect,
    FieldChange,
    PrincipleChange,
    Side,
    as_text,
)
from flows.explain.compare.words import difference

COMPARED = [f.name for f in fields(Principle) if f.name not in ("slug", "line", "examples")]
WORDS = ("critique", "revision", "comparison")
EFFECT_OF: dict[str, Effect] = {
    "critique": "rows",
    "revision": "rows",
    "weight": "assignment",
    "applies_to": "assignment",
    "enabled": "assignment",
    "comparison": "judging",
    "title": "teaching",
    "check": "choosing",
}


def compare(a: Side, b: Side, before: Constitution, after: Constitution) -> ConstitutionDiff:
    """Principles in the order of `after`, then those it lacks."""
    old = {p.slug: p for p in before.principles}
    new = {p.slug: p for p in after.principles}
    has_rounds = bool(before.rounds or after.rounds)
    changes = []
    for slug in dict.fromkeys([*new, *old]):
        if found := tuple(_changed(old.get(slug), new.get(slug), has_rounds)):
            worst = min((field.effect for field in found), key=list(EFFECTS).index)
            title = (new.get(slug) or old[slug]).title
            changes.append(PrincipleChange(slug, title, _change(slug, old, new), worst, found))
    return ConstitutionDiff(a, b, tuple(changes), tuple(_whole(before, after)))


def _change(slug: str, old: Container[str], new: Container[str]) -> Change:
    if slug not in old:
        return "added"
    return "changed" if slug in new else "removed"


def _changed(
    before: Principle | None, after: Principle | None, has_rounds: bool
) -> Iterator[FieldChange]:
    """The fields that differ; of a principle that only one side has, its words."""
    is_used = any(p.enabled for p in (before, after) if p)
    for name in COMPARED if before and after else WORDS:
        if not is_used:
            effect: Effect = "none"
        elif not (before and after) or (name == "tags" and has_rounds):
            effect = "assignment"
        else:
            effect = EFFECT_OF.get(name, "none")
        yield from _difference(name, before, after, effect)
    if before and after:
        yield from _worked_answers(before, after, "teaching" if is_used else "none")


def _worked_answers(before: Principle, after: Principle, effect: Effect) -> Iterator[FieldChange]:
    pairs = zip_longest(before.examples, after.examples)
    for number, (one, other) in enumerate(pairs, 1):
        for name in (f.name for f in fields(WorkedAnswer) if f.name != "line"):
            yield from _difference(name, one, other, effect, f"example {number}, ")


def _difference(
    name: str, before: Any, after: Any, effect: Effect, label: str = ""
) -> Iterator[FieldChange]:
    """A field of two objects, either None, where it differs; `label` stands before its name."""
    was, is_now = getattr(before, name, None), getattr(after, name, None)
    if was != is_now:
        yield _field(label + name, was, is_now, effect)


def _field(name: str, before: Any, after: Any, effect: Effect) -> FieldChange:
    return FieldChange(name, before, after, effect, difference(as_text(before), as_text(after)))


def _whole(before: Constitution, after: Constitution) -> Iterator[FieldChange]:
    """Name, version, order, rounds and examples."""
    for name in ("name", "version"):
        yield from _difference(name, before, after, "none")
    old, new = ([p.slug for p in c.principles] for c in (before, after))
    kept_old, kept_new = [s for s in old if s in new], [s for s in new if s in old]
    if kept_old != kept_new:
        yield _field("order", kept_old, kept_new, "none")
    if before.rounds != after.rounds:
        yield _field("rounds", _rounds(before), _rounds(after), "assignment")
    pairs = zip_longest(before.examples, after.examples)
    for number, (one, other) in enumerate(pairs, 1):
        for name in (f.name for f in fields(Example) if f.name != "line"):
            is_label = name == "principle" and one and other
            effect: Effect = "none" if is_label else "every_row"
            yield from _difference(name, one, other, effect, f"example {number}, ")


def _rounds(constitution: Constitution) -> list[str]:
    """Which tags each round uses, in words."""
    rounds = enumerate(constitution.rounds)
    return [f"round {number}: {' '.join(tags) or 'all'}" for number, tags in rounds]
