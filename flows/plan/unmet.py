"""What a set of prompts and a constitution do not know of each other: said before it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from constitution.assign import applicable
from constitution.checks import applies
from constitution.schema import Constitution, Principle
from tasks.generation.calls import category_of
from tasks.generation.method import Method
from tasks.prompts import Prompt

NAMED = 8  # names in one line


def coverage_notes(method: Method, prompts: Sequence[Prompt], judged: int = 0) -> Iterator[str]:
    """A line on categories that no principle knows, one on principles that no prompt meets.

    judged: principles by whose questions a judge compares the answers to a prompt.
    """
    counts = Counter(category_of(prompt) for prompt in prompts)
    yield from _unknown(method.constitution, counts)
    unmet = unmet_principles(method, prompts, judged)
    if unmet:
        every = method.constitution.enabled
        reached = {p.slug for c in counts for p in applicable(method.constitution, c)}
        apart = sum(principle.slug not in reached for principle in unmet)
        why = f"; {apart} apply to other categories only" if apart else ""
        shown = _listed(principle.slug for principle in unmet)
        yield f"no prompt meets {len(unmet)} of {len(every)} principles: {shown}{why}"


def _unknown(constitution: Constitution, counts: Counter[str | None]) -> Iterator[str]:
    known = {category for p in constitution.enabled for category in p.applies_to}
    unknown = {c: n for c, n in counts.most_common() if c is not None and c not in known}
    if known and unknown:
        shown = f"{_listed(unknown)} ({sum(unknown.values())} of {counts.total()} prompts)"
        fix = "prompts.categories=ignore has them meet every principle, {theirs: ours} maps them"
        yield f"no principle applies to the categories {shown}: {fix}"


def unmet_principles(
    method: Method, prompts: Iterable[Prompt], judged: int = 0
) -> Sequence[Principle]:
    """The enabled principles that no prompt meets, in a round, as a teacher's, or a judge's."""
    left = {principle.slug: principle for principle in method.constitution.enabled}
    for prompt in prompts:
        for principle in _met(method, prompt, judged, left.values()):
            left.pop(principle.slug, None)
        if not left:
            break
    return list(left.values())


def _met(
    method: Method, prompt: Prompt, judged: int, left: Collection[Principle]
) -> Iterable[Principle]:
    """The principles a prompt meets; perhaps without some, where none of `left` is among them."""
    if judged:
        yield from method.principles(prompt, judged)
    if method.source(prompt) == "revision":
        yield from method.principles(prompt)
    elif _may_be_shown(method.constitution, prompt, left):
        yield from method.shown_to(prompt)


def _may_be_shown(constitution: Constitution, prompt: Prompt, left: Collection[Principle]) -> bool:
    """False where `shown_to`, which costs more, is known to show none of `left`: their checks say
    nothing of such a prompt, and another principle's does.
    """
    asked = prompt.messages[-1]["content"]
    if any(applies(principle, asked) for principle in left):
        return True
    return not any(applies(p, asked) for p in applicable(constitution, category_of(prompt)))


def _listed(names: Iterable[object]) -> str:
    every = sorted(map(str, names))
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
