"""Which answers of an evaluation the judge compares: the same for a plan and for a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.plan.inputs import Inputs
from storage.ids import canonical_json, digest
from tasks.evaluation.answers import Answered
from tasks.evaluation.metrics import others_of
from tasks.evaluation.rows import HELD_OUT
from tasks.evaluation.wins import Win
from tasks.generation.calls import category_of
from tasks.hygiene.same import is_unchanged
from tasks.judging.comparisons import Comparison, Judged, preference, questions


@dataclass(frozen=True)
class Duel:
    """Two policies' answers to one question, and what the judge is asked about them."""

    own: Answered
    other: Answered
    questions: Sequence[Comparison]

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """What is asked: nothing about equal answers, which tie."""
        return () if self.is_equal else self.questions

    @property
    def is_equal(self) -> bool:
        return is_unchanged(self.own.answer.text, self.other.answer.text)

    def win(self, judged: Mapping[str, Judged]) -> Win:
        """What the judge says, given all that it was asked."""
        by = {
            c.principle.slug: None if self.is_equal else preference([c], judged)
            for c in self.questions
        }
        return Win(
            policy=self.own.policy.name,
            other=self.other.policy.name,
            question_id=self.own.question.question_id,
            preference=None if self.is_equal else preference(self.questions, judged),
            by=by,
            length=len(self.own.answer.text),
            other_length=len(self.other.answer.text),
        )


def duels_of(inputs: Inputs, answered: Iterable[Answered]) -> list[Duel]:
    """Every policy's first answer to a held-out prompt, against base, parent and champion; none
    without a judge.
    """
    judge, assigner = inputs.judge, inputs.method.assigner
    if judge is None:
        return []
    found: dict[str, dict[str, Answered]] = {}
    for made in answered:
        is_first = made.call.sample_index == 0 and made.question.probe == HELD_OUT
        if is_first and made.is_made:
            found.setdefault(made.policy.name, {})[made.question.question_id] = made
    return [
        Duel(own, other, questions(judge, assigner, own.question.prompt, own.answer, other.answer))
        for name, rival in rivals(found)
        for question_id, own in found[name].items()
        if (other := found[rival].get(question_id))
    ]


def rivals(policies: Collection[str]) -> list[tuple[str, str]]:
    """Who of these policies is held against whom: no pair twice."""
    return [
        (name, rival)
        for name in policies
        for rival in dict.fromkeys(others_of(name).values())
        if rival in policies
    ]


def most_duels(inputs: Inputs, policies: Collection[str]) -> int:
    """How many comparisons an evaluation of these policies may ask for at most."""
    if inputs.judge is None:
        return 0
    each = inputs.judge.n_principles * len(inputs.evaluation_prompts)
    return each * len(rivals(policies))


def judge_parts(inputs: Inputs) -> dict[str, Any]:
    """What decides win rates beside the answers, as parts of an evaluation's key."""
    judge = inputs.judge
    if judge is None:
        return {}
    assigner, count = inputs.method.assigner, judge.n_principles
    asked = [
        [[p.slug, p.comparison] for p in assigner.principles(q.prompt_id, count, category_of(q))]
        for q in inputs.evaluation_prompts
    ]
    parts = {
        "model": judge.model_id,
        "few_shot": judge.few_shot_id,
        "method": judge.method,
        "limits": list(judge.limits),
        "abstain": judge.abstain,
        "principles": digest(canonical_json(asked)),
    }
    return {"judge": parts}
