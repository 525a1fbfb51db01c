"""The pairs that people are asked about, those first where a verdict is worth most. Pure functions.

The order, each step only among those that the one before leaves equal:

1. the least margin, in tenths: how sure the rows' own evidence is, |2p - 1|; 0 without evidence;
2. the greatest disagreement of the judge with itself, in tenths: how far its figures in the two
   orders are apart where they name different answers, else 0;
3. principles that nobody gave a verdict under yet, in the words they have now;
4. by content, which is no order at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from constitution.schema import Principle
from tasks.prompts.turns import Turn
from tasks.review.verdicts import Answer, Subject, Verdict


@dataclass(frozen=True)
class Item:
    """Two answers of a prompt's pool, and what the rows say of them without people.

    `row_id`: the pool's. `chosen`: which is the better one by a program or a judge (`by`), or by
    the source alone; None where rows have no pair of it. `margin`, `disagreement`: in [0, 1].
    """

    subject: Subject
    messages: tuple[Turn, ...]
    principles: tuple[Principle, ...]
    row_id: str
    chosen: Answer | None
    by: str
    margin: float
    disagreement: float = 0.0

    def to_json(self) -> dict[str, Any]:
        subject = self.subject
        a, b = subject.shown
        chosen = None if self.chosen is None else "ab"[self.chosen != subject.named("a")]
        return {
            "id": subject.subject_id,
            "row_id": self.row_id,
            "messages": list(self.messages),
            "a": a,
            "b": b,
            "principles": [p.slug for p in self.principles],
            "chosen": chosen,
            "by": self.by,
            "margin": round(self.margin, 4),
            "disagreement": round(self.disagreement, 4),
        }


def queue(items: Iterable[Item], verdicts: Sequence[Verdict]) -> list[Item]:
    """The items in order, each subject once. `verdicts`: all that count."""
    told = {principle for verdict in verdicts for principle in verdict.subject.principle_ids}

    def rank(item: Item) -> tuple[float, ...]:
        is_new = not told.issuperset(item.subject.principle_ids)
        return _tenths(item.margin), -_tenths(item.disagreement), not is_new

    unique = {item.subject.subject_id: item for item in items}
    return sorted(unique.values(), key=lambda item: (rank(item), item.subject.subject_id))


def without(items: Iterable[Item], verdicts: Iterable[Verdict], author: str) -> list[Item]:
    """Those that this author has said nothing of, in their order."""
    done = {v.subject.subject_id for v in verdicts if v.author == author}
    return [item for item in items if item.subject.subject_id not in done]


def _tenths(figure: float) -> int:
    return round(figure * 10)
