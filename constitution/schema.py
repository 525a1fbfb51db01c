"""What a constitution is, once read: plain frozen values without behaviour beyond look-up."""

from __future__ import annotations

from dataclasses import dataclass, field

from constitution.errors import ConstitutionError

Check = tuple[
    str, int | str | bool | tuple[str, ...]
]  # a name of `checks.CHECKS` and its parameter


@dataclass(frozen=True)
class WorkedAnswer:
    """A prompt with an answer that keeps a principle: an earlier turn in a teacher's requests."""

    prompt: str
    response: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Principle:
    """One rule. The three requests reach the model that writes, title and examples a teacher.

    The other fields decide where it is used.
    """

    slug: str  # kebab-case name, at most 64 characters; the identity of the principle
    title: str  # for people, and the rule as a teacher is told it (see teacher.py)
    critique: str  # critique request
    revision: str  # revision request
    comparison: str  # question with which a judge compares two responses
    tags: tuple[str, ...] = ()  # such as "honest": for people, reports and the rounds' policy
    weight: float = 1.0  # relative share of the rows, 0.000001 to 1000000
    enabled: bool = True  # a disabled principle is assigned to no row
    applies_to: tuple[str, ...] = ()  # prompt categories; () = all
    check: Check | None = None  # how a program sees whether an answer keeps it (see checks.py)
    examples: tuple[WorkedAnswer, ...] = ()  # answers that keep it; a constitution's are critiques
    line: int = field(default=0, compare=False)  # 1-based line in the file; 0 = not from a file


@dataclass(frozen=True)
class Example:
    """One worked critique and revision, shown before every request. It carries its own requests.

    `principle` names the principle it illustrates. It is a note: no rendered text contains it, so
    that editing a principle changes the requests of that principle only.
    """

    principle: str
    prompt: str
    response: str
    critique_request: str
    critique: str
    revision_request: str
    revision: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Constitution:
    """An ordered set of principles (slugs are unique) and its worked examples."""

    name: str
    principles: tuple[Principle, ...]
    examples: tuple[Example, ...] = ()
    version: str = ""  # a note for people; identity comes from the content
    rounds: tuple[tuple[str, ...], ...] = ()  # tags that may be used in round 0, 1, ...; () = all

    def tags_of(self, round: int) -> tuple[str, ...]:
        """Return the tags whose principles may be used in the round; () means every principle."""
        return self.rounds[round] if round < len(self.rounds) else ()

    @property
    def enabled(self) -> tuple[Principle, ...]:
        """The principles that may be assigned, in file order."""
        return tuple(p for p in self.principles if p.enabled)

    def principle(self, slug: str) -> Principle:
        """Return the principle named `slug`; raise ConstitutionError if there is none."""
        for principle in self.principles:
            if principle.slug == slug:
                return principle
        known = ", ".join(p.slug for p in self.principles)
        rule = f"no principle of constitution {self.name!r} has this slug"
        raise ConstitutionError(slug, rule, f"use one of: {known}")
