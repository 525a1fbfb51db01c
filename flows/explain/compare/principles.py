"""What changed between two constitutions, and what each change means for the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import zip_longest
from typing import Any, Literal

from constitution.schema import Constitution, Example, Principle
from flows.explain.compare.report import (
    EFFECTS,
    ConstitutionDiff,
    Effect,
    FieldChange,
    PrincipleChange,
    Side,
    as_text,
)
from flows.explain.compare.words import difference

COMPARED = [f.name for f in fields(Principle) if f.name not in ("slug", "line")]
EFFECT_OF: dict[str, Effect] = {
    "critique": "rows",
    "revision": "rows",
    "weight": "assignment",
    "applies_to": "assignment",
    "enabled": "assignment",
    "comparison": "judging",
}


def compare(a: Side, b: Side, before: Constitution, after: Constitution) -> ConstitutionDiff:
    """Principles in the order of `after`, then those it lacks."""
    old = {p.slug: p for p in before.principles}
    new = {p.slug: p for p in after.principles}
    has_rounds = bool(before.rounds or after.rounds)
    changes = []
    for slug in dict.fromkeys([*new, *old]):
        if slug not in old:
            changes.append(_one_sided(new[slug], "added"))
        elif slug not in new:
            changes.append(_one_sided(old[slug], "removed"))
        elif changed := tuple(_changed(old[slug], new[slug], has_rounds)):
            worst = min((field.effect for field in changed), key=list(EFFECTS).index)
            changes.append(PrincipleChange(slug, new[slug].title, "changed", worst, changed))
    return ConstitutionDiff(a, b, tuple(changes), tuple(_whole(before, after)))


def _changed(before: Principle, after: Principle, has_rounds: bool) -> Iterator[FieldChange]:
    is_used = before.enabled or after.enabled
    for name in COMPARED:
        was, is_now = getattr(before, name), getattr(after, name)
        if was != is_now:
            effect = _effect(name, has_rounds) if is_used else "none"
            yield _field(name, was, is_now, effect)


def _one_sided(one: Principle, change: Literal["added", "removed"]) -> PrincipleChange:
    """A principle that only one side has, with its words."""
    effect: Effect = "assignment" if one.enabled else "none"
    words = []
    for name in ("critique", "revision", "comparison"):
        text = getattr(one, name)
        was, is_now = (None, text) if change == "added" else (text, None)
        words.append(_field(name, was, is_now, effect))
    return PrincipleChange(one.slug, one.title, change, effect, tuple(words))


def _field(name: str, before: Any, after: Any, effect: Effect) -> FieldChange:
    return FieldChange(name, before, after, effect, difference(as_text(before), as_text(after)))


def _effect(name: str, has_rounds: bool) -> Effect:
    if name == "tags" and has_rounds:
        return "assignment"
    return EFFECT_OF.get(name, "none")


def _whole(before: Constitution, after: Constitution) -> Iterator[FieldChange]:
    """Name, version, order, rounds and examples."""
    for name in ("name", "version"):
        was, is_now = getattr(before, name), getattr(after, name)
        if was != is_now:
            yield _field(name, was, is_now, "none")
    old, new = ([p.slug for p in c.principles] for c in (before, after))
    kept_old, kept_new = [s for s in old if s in new], [s for s in new if s in old]
    if kept_old != kept_new:
        yield _field("order", kept_old, kept_new, "none")
    if before.rounds != after.rounds:
        yield _field("rounds", _rounds(before), _rounds(after), "assignment")
    for number, pair in enumerate(zip_longest(before.examples, after.examples), 1):
        yield from _example(number, *pair)


def _rounds(constitution: Constitution) -> list[str]:
    """Which tags each round uses, in words."""
    rounds = enumerate(constitution.rounds)
    return [f"round {number}: {' '.join(tags) or 'all'}" for number, tags in rounds]


def _example(number: int, before: Example | None, after: Example | None) -> Iterator[FieldChange]:
    for name in (f.name for f in fields(Example) if f.name != "line"):
        was, is_now = getattr(before, name, None), getattr(after, name, None)
        if was != is_now:
            is_label = name == "principle" and before and after
            effect: Effect = "none" if is_label else "every_row"
            yield _field(f"example {number}, {name}", was, is_now, effect)
