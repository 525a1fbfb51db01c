"""What changed between two constitutions, and what each change means for the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields

from constitution.schema import Constitution, Example, Principle
from flows.explain.compare.report import (
    EFFECTS,
    ConstitutionDiff,
    Effect,
    FieldChange,
    PrincipleChange,
    Side,
)

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
    for slug in [*new, *(slug for slug in old if slug not in new)]:
        change = _principle(old.get(slug), new.get(slug), has_rounds)
        if change is not None:
            changes.append(change)
    return ConstitutionDiff(a, b, tuple(changes), tuple(_whole(before, after)))


def _principle(
    before: Principle | None, after: Principle | None, has_rounds: bool
) -> PrincipleChange | None:
    if before is None or after is None:
        return _one_sided(before, after)
    is_used = before.enabled or after.enabled
    changed = tuple(
        FieldChange(
            name,
            getattr(before, name),
            getattr(after, name),
            _effect(name, has_rounds) if is_used else "none",
        )
        for name in COMPARED
        if getattr(before, name) != getattr(after, name)
    )
    if not changed:
        return None
    worst = min((field.effect for field in changed), key=list(EFFECTS).index)
    return PrincipleChange(after.slug, after.title, "changed", worst, changed)


def _one_sided(before: Principle | None, after: Principle | None) -> PrincipleChange | None:
    """A principle that only one side has, with its words."""
    one = before or after
    if one is None:
        return None
    effect: Effect = "assignment" if one.enabled else "none"
    words = tuple(
        FieldChange(name, getattr(before, name, None), getattr(after, name, None), effect)
        for name in ("critique", "revision", "comparison")
    )
    return PrincipleChange(
        one.slug, one.title, "removed" if after is None else "added", effect, words
    )


def _effect(name: str, has_rounds: bool) -> Effect:
    if name == "tags" and has_rounds:
        return "assignment"
    return EFFECT_OF.get(name, "none")


def _whole(before: Constitution, after: Constitution) -> Iterator[FieldChange]:
    """Name, version, order, rounds and examples."""
    for name in ("name", "version"):
        if getattr(before, name) != getattr(after, name):
            yield FieldChange(name, getattr(before, name), getattr(after, name), "none")
    old, new = ([p.slug for p in c.principles] for c in (before, after))
    kept_old, kept_new = [s for s in old if s in new], [s for s in new if s in old]
    if kept_old != kept_new:
        yield FieldChange("order", kept_old, kept_new, "none")
    if before.rounds != after.rounds:
        yield FieldChange("rounds", _rounds(before), _rounds(after), "assignment")
    for number in range(max(len(before.examples), len(after.examples))):
        yield from _example(number, before.examples, after.examples)


def _rounds(constitution: Constitution) -> list[str]:
    """Which tags each round uses, in words."""
    rounds = enumerate(constitution.rounds)
    return [f"round {number}: {' '.join(tags) or 'all'}" for number, tags in rounds]


def _example(
    number: int, before: tuple[Example, ...], after: tuple[Example, ...]
) -> Iterator[FieldChange]:
    old, new = (_texts(examples, number) for examples in (before, after))
    for name in new or old:
        was, now = old.get(name), new.get(name)
        if was != now:
            effect: Effect = "none" if name == "principle" and old and new else "every_row"
            yield FieldChange(f"example {number + 1}, {name}", was, now, effect)


def _texts(examples: tuple[Example, ...], number: int) -> dict[str, str]:
    if number >= len(examples):
        return {}
    return {name: text for name, text in asdict(examples[number]).items() if name != "line"}
