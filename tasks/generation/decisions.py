"""What came of a pool of answers: its faults, the contest that was chosen, and the pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.generation.assemble import (
    Exclusion,
    Pair,
    instructions,
    row_fault,
)
from tasks.generation.calls import Answer
from tasks.generation.labels import (
    Contest,
    Ruled,
)
from tasks.generation.sources import Pool, Source
from tasks.hygiene.rows import Phrases

NO_EVIDENCE = "no_evidence"
NOTHING_TOLD: tuple[str, ...] = ()


class Faults:
    """Why each answer of a pool must not be learned from, found out when it is asked for."""

    def __init__(self, pool: Pool, shown: Phrases) -> None:
        self.pool, self.shown = pool, shown
        self._known: dict[str, str | None] = {}

    def of(self, answer: Answer) -> str | None:
        if answer.completion_id not in self._known:
            self._known[answer.completion_id] = self._found(answer)
        return self._known[answer.completion_id]

    def _found(self, answer: Answer) -> str | None:
        """Of a revision, its draft and what was asked for count as well."""
        pool, draft, told = self.pool, "", NOTHING_TOLD
        if pool.source == "revision" and answer in pool.better:
            draft, told = pool.worse[0].text, instructions(pool.principles)
        asked, reason = pool.prompt.messages[-1]["content"], answer.finish_reason
        return row_fault(asked, draft, answer.text, reason, self.shown, told)


@dataclass(frozen=True)
class Decision:
    """What came of a pool: a contest, or the reason why there is none.

    `losers`: the completion ids of answers that may be the rejected side of a pair.
    """

    pool: Pool
    ruled: tuple[Ruled, ...]
    faults: Faults
    losers: frozenset[str]
    contest: Contest | None
    reason: str = ""
    detail: str = ""

    @property
    def source(self) -> Source:
        """Of its pair: people's where one of them edited the better answer."""
        return "people" if self.contest and self.contest.is_edited else self.pool.source

    def may_win(self, answer: Answer) -> bool:
        return self.faults.of(answer) is None

    @property
    def is_open(self) -> bool:
        """Whether no program decided, so that a judge may."""
        return not (self.contest and self.contest.labels) and self.reason in ("", NO_EVIDENCE)


def pairs(decisions: Sequence[Decision]) -> tuple[list[Pair], list[Exclusion]]:
    """The pairs of those with a contest, and why the others give none."""
    kept: list[Pair] = []
    left_out: list[Exclusion] = []
    for decision in decisions:
        pool, contest = decision.pool, decision.contest
        if contest is None:
            reason = decision.reason, decision.detail
            left_out.append(Exclusion(pool.row_id, "pairs", *reason))
        else:
            kept.append(
                Pair(
                    pool.prompt.prompt_id,
                    _stripped(contest.chosen),
                    _stripped(contest.rejected),
                    decision.source,
                    contest.preference,
                    contest.labels,
                    contest.is_turned,
                    pool.revision_id,
                )
            )
    return kept, left_out


def _stripped(answer: Answer) -> Answer:
    return replace(answer, text=answer.text.strip())
