"""What is asked of a policy and what is measured of its answers, as rows of answers.jsonl.

* reward: the reward checkpoint's score of the conversation as the chat template renders it.
* kl: log p_policy(text) - log p_sft(text) in nats (the k1 estimate of
  http://joschu.net/blog/kl-approx.html). Its mean over answers estimates KL(policy || sft), but for
  texts that the policy wrote in other tokens than the tokenizer makes of them; of greedy answers it
  is only a log-ratio. Logits are divided by the sampling temperature. Exactly 0 for sft.

Both are of held-out answers; a probe's answers are scored by its program. Pure functions. Policies
share their random numbers sample by sample, so equal policies give equal answers and paired
differences carry less noise. rows.py says what a row is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.rows import HELD_OUT
from tasks.evaluation.scores import Measure, Wanted
from tasks.generation.calls import Answer, Call

REFERENCE = "sft"


@dataclass(frozen=True)
class Policy:
    """A model under evaluation, or the one that rewards: the base, with an adapter or without."""

    name: str
    model_id: str
    adapter: Path | None = None
    checkpoint_id: str | None = None


@dataclass(frozen=True)
class Answered:
    """A policy's answer to a question."""

    policy: Policy
    question: Question
    call: Call
    answer: Answer

    @property
    def is_made(self) -> bool:
        return self.answer.finish_reason != "too_long"

    @property
    def is_rewarded(self) -> bool:
        return self.is_made and self.question.probe == HELD_OUT

    def wanted(self, measure: Measure, model: Policy) -> Wanted:
        """The score of this answer by a model."""
        temperature, messages = self.call.sampling.temperature, self.question.prompt.messages
        return Wanted(self.answer, messages, measure, model.model_id, temperature)


def wanted_scores(
    answered: Iterable[Answered], reference: Policy, reward: Policy
) -> Iterator[Wanted]:
    """Every score that the rows are made of; where the policy is sft, kl is 0 without any."""
    for found in answered:
        if found.is_rewarded:
            if found.policy.model_id != reference.model_id:
                yield found.wanted("logprob", found.policy)
                yield found.wanted("logprob", reference)
            yield found.wanted("reward", reward)


def row_of(
    found: Answered,
    reference: Policy,
    reward: Policy,
    score: Callable[[Wanted], float],
    verdict: Scored | None = None,
) -> dict[str, Any]:
    """The row of an answer; `score` knows every one of its `wanted_scores`."""
    answer, question = found.answer, found.question
    value, kl = None, None
    if found.is_rewarded:
        value, kl = score(found.wanted("reward", reward)), 0.0
        if found.policy.model_id != reference.model_id:
            own, other = (found.wanted("logprob", p) for p in (found.policy, reference))
            kl = score(own) - score(other)
    return {
        "policy": found.policy.name,
        "probe": question.probe,
        "question_id": question.question_id,
        "prompt_id": question.prompt.prompt_id,
        "sample": found.call.sample_index,
        "completion_id": answer.completion_id,
        "category": question.prompt.category,
        "prompt": question.prompt.messages[-1]["content"],
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "tokens": answer.completion_tokens,
        "reward": value,
        "kl": kl,
        "score": verdict.value if verdict else None,
        "reason": verdict.reason if verdict else None,
    }
