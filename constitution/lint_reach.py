"""What no prompt can get: principles, and rounds that leave a category without any."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from constitution.assign import applicable
from constitution.errors import shown
from constitution.schema import Constitution, Principle

Note = tuple[int, str]  # 1-based line, message

Categories = Collection[str | None]  # None stands for prompts without a category


def reach_notes(
    constitution: Constitution, round_lines: Sequence[int], categories: Categories | None
) -> Iterator[Note]:
    """Yield a note for every such thing; without `categories`, of the rounds' policy only."""
    for principle in constitution.enabled:
        yield from _out_of_policy(constitution, principle)
        if categories is not None and set(categories) != {None}:
            yield from _without_prompts(principle, categories)
    if categories is not None:
        yield from _left_alone(constitution, round_lines, categories)


def _out_of_policy(constitution: Constitution, principle: Principle) -> Iterator[Note]:
    rounds = constitution.rounds
    if rounds and not any(not tags or set(tags) & set(principle.tags) for tags in rounds):
        fault = f"no prompt can get it in the {len(rounds)} listed rounds"
        yield principle.line, f"{shown(principle.slug)}: {fault}; name one of its tags in rounds"


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
