"""Does it teach? How many pairs have evidence, of which kind, on which principle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tasks.generation.decisions import Decision

AUTHORITY = ("people", "program", "judge")  # the first outranks the others
NONE = "none"


@dataclass
class Lesson:
    """What one principle's prompts give, and which pairs have evidence on it.

    `prompts`, `pairs`: those that it was assigned to. `with_evidence`: pairs with a label on it, of
    any prompt; `agreed`: those of them that the source presumed so. `all_keep`, `all_break`: of its
    prompts, those all of whose answers keep it, or break it: there is nothing to learn from those.
    """

    prompts: int = 0
    pairs: int = 0
    with_evidence: int = 0
    agreed: int = 0
    all_keep: int = 0
    all_break: int = 0


@dataclass
class Teaching:
    """Counts over the rows to train on; held-out ones do not count."""

    by_source: Counter[str] = field(default_factory=Counter)
    by_evidence: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    lessons: dict[str, Lesson] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        return sum(self.by_evidence.values())

    @property
    def share(self) -> float | None:
        """The share of pairs with evidence, in [0, 1]; None without any pair."""
        return (self.pairs - self.by_evidence[NONE]) / self.pairs if self.pairs else None

    def add(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._pair(decision)
            for principle in decision.pool.principles:
                _meet(self._lesson(principle.slug), principle.slug, decision)
            if contest := decision.contest:
                for slug in dict.fromkeys(label.slug for label in contest.labels if label.slug):
                    lesson = self._lesson(slug)
                    lesson.with_evidence += 1
                    lesson.agreed += not contest.is_turned

    def _lesson(self, slug: str) -> Lesson:
        return self.lessons.setdefault(slug, Lesson())

    def _pair(self, decision: Decision) -> None:
        contest = decision.contest
        if contest is None:
            return
        self.by_source[decision.source] += 1
        self.by_evidence[strongest(label.by for label in contest.labels)] += 1
        self.turned += contest.is_turned

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "share_with_evidence": self.share,
            "by_evidence": dict(self.by_evidence),
            "by_source": dict(self.by_source),
            "turned": self.turned,
            "principles": {slug: vars(lesson) for slug, lesson in sorted(self.lessons.items())},
        }


def strongest(said: Iterable[str]) -> str:
    """Who of those that gave a label outranks the others; "none" without any."""
    givers = set(said)
    return next((by for by in AUTHORITY if by in givers), NONE)


def _meet(lesson: Lesson, slug: str, decision: Decision) -> None:
    lesson.prompts += 1
    lesson.pairs += decision.contest is not None
    lesson.all_keep += all(slug in ruled.kept for ruled in decision.ruled)
    lesson.all_break += all(slug in ruled.broken for ruled in decision.ruled)
