"""From steps and pools to decisions: which answer is better by whom, and what SFT learns.

A pair needs evidence: people, a program or a judge that prefers one answer. Where the evidence
speaks against what the source presumes, the pair is turned round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from constitution.assign import applicable
from constitution.checks import complies
from constitution.schema import Constitution, Principle
from tasks.generation.assemble import (
    Example,
    Exclusion,
    Step,
    fault_of,
)
from tasks.generation.calls import Answer, category_of
from tasks.generation.decisions import NO_EVIDENCE, Decision, Faults
from tasks.generation.labels import (
    Contest,
    Ruled,
    Verdicts,
    by_people,
    by_program,
    presumed,
    rule,
    said_by_people,
)
from tasks.generation.reviewed import by_reviewers
from tasks.generation.sources import Pool, Source
from tasks.hygiene.rows import Phrases
from tasks.hygiene.same import is_unchanged
from tasks.review.verdicts import BOTH_BAD, Reviews


@dataclass(frozen=True)
class Standards:
    """What rows must be like.

    needs_evidence: a pair without a label is left out, and an example that breaks the rule it was
    made under. whole: of a pair neither side was cut at the limit. examples_each: answers of a
    teacher to learn, a prompt. final_only: of revisions only a prompt's last one is an example.
    """

    needs_evidence: bool = True
    whole: bool = True
    examples_each: int = 2
    final_only: bool = False


@dataclass(frozen=True)
class Chooser:
    """Chooses among answers. `shown`: phrases of worked examples, which must not be copied.

    `without`: the slug of a principle; what it had a hand in is left out as "ablated". `verdicts`,
    `reviews`: what people say in a file of theirs, and what reviewers said here, which goes before.
    """

    constitution: Constitution
    standards: Standards
    shown: Phrases = frozenset()
    without: str | None = None
    verdicts: Verdicts = field(default_factory=dict)
    reviews: Reviews = field(default_factory=Reviews)
    _rules: dict[str | None, tuple[Principle, ...]] = field(default_factory=dict)

    def decide(self, pool: Pool, opinion: Contest | None = None) -> Decision:
        """The pair of a pool: what people say, else a program, else the judge's opinion, else what
        the source presumes, where rows need no evidence.
        """
        faults = Faults(pool, self.shown)
        losers = frozenset(a.completion_id for a in pool.answers if self._may_lose(a))
        ruled = tuple(rule(self._checked(pool), pool, answer) for answer in pool.answers)
        decided = partial(Decision, pool, ruled, faults, losers)
        if reason := self._spoilt(pool, faults):
            return decided(None, reason, _counted(faults) if reason == "faulty" else "")
        reviewed = by_reviewers(pool, self.reviews, faults.of, losers)
        if isinstance(reviewed, tuple):
            return decided(None, *reviewed)
        contest = reviewed or by_people(pool, self.verdicts, faults.of, losers)
        if contest is None and said_by_people(pool, self.verdicts):
            return decided(None, "spoilt_for_people")
        contest = contest or by_program(pool, ruled, faults.of, losers) or opinion
        if contest is None and not self.standards.needs_evidence:
            contest = presumed(pool, faults.of, losers)
        if contest is None:
            return decided(None, NO_EVIDENCE, _undecided(pool, ruled))
        return decided(contest)

    def examples(
        self, steps: Sequence[Step], decisions: Sequence[Decision]
    ) -> tuple[list[Example], list[Exclusion]]:
        """What to learn: revisions, and a teacher's best answers.

        All rounds' revisions as in Bai et al. 2022 (section 3.1), or each prompt's last one only.
        """
        last = {step.turn.prompt_id: step.round for step in steps}
        known = {d.pool.revision_id: d.faults for d in decisions}
        bad = {d.pool.revision_id for d in decisions if d.reason == BOTH_BAD}
        kept: list[Example] = []
        left_out: list[Exclusion] = []
        for step in steps:
            is_earlier = self.standards.final_only and step.round < last[step.turn.prompt_id]
            faults = known.get(step.revision_id)
            reason = "earlier_round" if is_earlier else self._fault_of_step(step, faults)
            if step.revision_id in bad:
                reason = BOTH_BAD
            if reason:
                left_out.append(Exclusion(step.revision_id, "examples", reason))
            else:
                kept.append(_example(step.turn.prompt_id, step.revision, step.revision_id))
        for decision in decisions:
            if decision.pool.source == "distilled":
                taught = self._taught(decision)
                kept += taught
                if not taught:
                    prompt_id = decision.pool.prompt.prompt_id
                    left_out.append(Exclusion(prompt_id, "examples", "none_keeps_the_rules"))
        return kept, left_out

    def _taught(self, decision: Decision) -> list[Example]:
        """The teacher's answers that break no rule they were given, those first that keep the most
        rules; where no program checks what they were given, the one that was chosen.
        """
        pool, chosen = decision.pool, decision.contest and decision.contest.chosen
        if decision.reason == "ablated":
            return []
        about = {principle.slug for principle in pool.principles if principle.check}
        good = [
            r
            for r in decision.ruled
            if (about and not r.broken & about) or (not about and r.answer == chosen)
            if r.answer in pool.better and decision.may_win(r.answer)
        ]
        good.sort(key=lambda r: len(r.broken) - len(r.kept))
        distinct = list({r.answer.text.strip(): r.answer for r in reversed(good)}.values())[::-1]
        return [
            _example(pool.prompt.prompt_id, answer, None)
            for answer in distinct[: self.standards.examples_each]
        ]

    def _fault_of_step(self, step: Step, faults: Faults | None) -> str | None:
        """`faults`: those of the pool whose better answer its revision is."""
        if self.without in step.slugs:
            return "ablated"
        found = faults.of(step.revision) if faults else fault_of(step, self.shown)
        if found or not self.standards.needs_evidence:
            return found
        asked = step.turn.prompt.messages[-1]["content"]
        is_kept = complies(step.turn.principles[step.round], asked, step.revision.text)
        return "breaks_its_rule" if is_kept is False else None

    def _checked(self, pool: Pool) -> tuple[Principle, ...]:
        """The principles in force for a prompt that a program checks."""
        category = category_of(pool.prompt)
        if category not in self._rules:
            found = applicable(self.constitution, category)
            self._rules[category] = tuple(p for p in found if p.check and p.slug != self.without)
        return self._rules[category]

    def _may_lose(self, answer: Answer) -> bool:
        is_whole = answer.finish_reason == "stop" or not self.standards.whole
        return bool(answer.text.strip()) and is_whole

    def _spoilt(self, pool: Pool, faults: Faults) -> str | None:
        """Why nothing can come of a pool, if so."""
        if self.without in {principle.slug for principle in pool.principles}:
            return "ablated"
        if pool.source != "revision":
            return "faulty" if all(map(faults.of, pool.answers)) else None
        (revision,), (draft,) = pool.better, pool.worse
        if fault := faults.of(revision):
            return fault
        if not draft.text.strip():
            return "empty_draft"
        if is_unchanged(draft.text, revision.text):
            return "unchanged"
        return None if self._may_lose(draft) else "cut_draft"


def _example(prompt_id: str, answer: Answer, revision_id: str | None) -> Example:
    source: Source = "distilled" if revision_id is None else "revision"
    named = prompt_id, answer.completion_id, answer.text.strip(), source
    return Example(*named, revision_id, answer.cut_at)


def _counted(faults: Faults) -> str:
    """What is wrong with how many answers: "3 truncated, 1 preamble"."""
    counts = Counter(str(faults.of(answer)) for answer in faults.pool.answers)
    return ", ".join(f"{count} {fault}" for fault, count in counts.most_common())


def _undecided(pool: Pool, ruled: Sequence[Ruled]) -> str:
    """What the programs found of every principle: "all keep sixty-words; no check of be-kind"."""
    found = []
    for principle in pool.principles:
        if principle.check is None:
            found.append(f"no check of {principle.slug}")
        elif all(principle.slug in r.kept for r in ruled):
            found.append(f"all keep {principle.slug}")
        elif all(principle.slug in r.broken for r in ruled):
            found.append(f"all break {principle.slug}")
        else:
            found.append(f"no clean contest on {principle.slug}")
    return "; ".join(found)
