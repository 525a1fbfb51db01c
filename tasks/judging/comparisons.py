"""What a judge is asked: one principle's question about two responses to one prompt.

A comparison has no order: the response whose text sorts first is its `first`, whichever way round
it was asked for, so that both ways are one row of the ledger. It is asked in both orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from constitution.assign import Assigner
from constitution.render import comparison_messages, reasoning_messages, verdict_messages
from constitution.schema import Principle
from storage.ids import content_id
from tasks.generation.calls import Answer, Call, Message, category_of, principle_id
from tasks.judging.figures import Orders, ensemble, settle
from tasks.judging.judge import Judge
from tasks.prompts import Prompt


@dataclass(frozen=True)
class Comparison:
    """Whether `one` is better than `other`, by the comparison question of a principle."""

    judge: Judge
    prompt: Prompt
    principle: Principle
    one: Answer
    other: Answer

    @property
    def is_turned(self) -> bool:
        """Whether `other` is the first of the comparison's row."""
        one, other = self.one, self.other
        return (other.text.strip(), other.completion_id) < (one.text.strip(), one.completion_id)

    @property
    def first(self) -> Answer:
        return self.other if self.is_turned else self.one

    @property
    def second(self) -> Answer:
        return self.one if self.is_turned else self.other

    @cached_property
    def principle_id(self) -> str:
        return principle_id(self.principle)

    @cached_property
    def requests(self) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """What is asked after the worked comparisons: forward (`first` is A) and backward."""
        render = reasoning_messages if self.judge.chain_of_thought else comparison_messages
        talk, first, second = self.prompt.messages, self.first.text, self.second.text
        orders = ((first, second), (second, first))
        forward, backward = (tuple(render(self.principle, talk, *order)) for order in orders)
        return forward, backward

    @cached_property
    def comparison_id(self) -> str:
        """The hash of the model, its worked comparisons, both requests and what changes a figure.

        Neither the slug nor the other words of the principle are part of it.
        """
        value = {
            "model": self.judge.model_id,
            "few_shot": self.judge.few_shot_id,
            "requests": self.requests,
            "method": self.judge.method,
        }
        return content_id("comparison", value)

    @property
    def reasoning_calls(self) -> tuple[Call, ...]:
        """The calls for what speaks for either response, forward and backward; () without any."""
        if not self.judge.chain_of_thought:
            return ()
        form, prompt_id = self.judge.reasoning_form, self.prompt.prompt_id
        named = self.principle_id
        return tuple(form.call(prompt_id, r, principle_id=named) for r in self.requests)

    def verdict_requests(self, reasoning: Sequence[Answer] = ()) -> list[list[Message]]:
        """The whole conversations, forward and backward, that a letter answers."""
        asked = [[*self.judge.examples, *request] for request in self.requests]
        for messages, answer in zip(asked, reasoning, strict=False):
            messages += verdict_messages(answer.text)
        return asked


@dataclass(frozen=True)
class Judged:
    """What a judge said to a comparison: figures of the row's first response (see `Orders`).

    `verdicts`: how many letters were sampled in both orders; `unparsed`: of these, how many could
    not be read.
    """

    comparison_id: str
    orders: Orders
    verdicts: int = 0
    unparsed: int = 0

    def of(self, comparison: Comparison) -> Orders:
        """The figures of the comparison's `one`."""
        return self.orders.mirrored if comparison.is_turned else self.orders


def questions(
    judge: Judge, assigner: Assigner, prompt: Prompt, one: Answer, other: Answer
) -> list[Comparison]:
    """The questions that a pair is judged by: the prompt's principles of rounds 0, 1, ...

    Where a prompt has fewer principles than `judge.n_principles`, each is asked once. Raises
    ConstitutionError where a round has none for the prompt's category.
    """
    met = assigner.principles(prompt.prompt_id, judge.n_principles, category_of(prompt))
    unique = {principle.slug: principle for principle in met}
    return [Comparison(judge, prompt, principle, one, other) for principle in unique.values()]


def preference(asked: Sequence[Comparison], judged: Mapping[str, Judged]) -> float | None:
    """Probability in [0, 1] that `one` of the questions about one pair is better than `other`.

    None where the judge abstains from all of them; 0.5 is no label either.
    """
    settled = []
    for comparison in asked:
        orders = judged[comparison.comparison_id].of(comparison)
        judge = comparison.judge
        settled.append(settle(orders, judge.limits, judge.abstain))
    return ensemble(settled)
