"""The rows of an evaluation: what every policy answered, and what was measured of each answer.

    {"policy", "prompt_id", "completion_id", "category", "prompt", "text", "finish_reason",
     "tokens", "reward", "kl"}

* finish_reason: "stop" (ended by itself), "length" (cut at max_new_tokens), "too_long" (the prompt
  is longer than prompts may be; nothing was generated, reward and kl are null).
* tokens: generated tokens, the end-of-turn token included.
* reward: the reward checkpoint's score of the conversation as the chat template renders it.
* kl: log p_policy(text) - log p_sft(text) in nats (the k1 estimate of
  http://joschu.net/blog/kl-approx.html). Its mean over answers estimates KL(policy || sft), but for
  texts that the policy wrote in other tokens than the tokenizer makes of them; of greedy answers it
  is only a log-ratio. Logits are divided by the sampling temperature. Exactly 0 for sft.

Pure functions. Policies share their random numbers prompt by prompt, so equal policies give equal
answers and paired differences carry less noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.scores import Measure, Wanted
from tasks.generation.calls import Answer, Call
from tasks.prompts import Prompt

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
    """A policy's answer to a prompt."""

    policy: Policy
    prompt: Prompt
    call: Call
    answer: Answer

    @property
    def is_made(self) -> bool:
        return self.answer.finish_reason != "too_long"

    def wanted(self, measure: Measure, model: Policy) -> Wanted:
        """The score of this answer by a model."""
        temperature = self.call.sampling.temperature
        return Wanted(self.answer, self.prompt.messages, measure, model.model_id, temperature)


def wanted_scores(
    answered: Iterable[Answered], reference: Policy, reward: Policy
) -> Iterator[Wanted]:
    """Every score that the rows are made of; where the policy is sft, kl is 0 without any."""
    for found in answered:
        if found.is_made:
            if found.policy.model_id != reference.model_id:
                yield found.wanted("logprob", found.policy)
                yield found.wanted("logprob", reference)
            yield found.wanted("reward", reward)


def row_of(
    found: Answered, reference: Policy, reward: Policy, score: Callable[[Wanted], float]
) -> dict[str, Any]:
    """The row of an answer; `score` knows every one of its `wanted_scores`."""
    answer, prompt = found.answer, found.prompt
    value, kl = None, None
    if found.is_made:
        value, kl = score(found.wanted("reward", reward)), 0.0
        if found.policy.model_id != reference.model_id:
            own, other = (found.wanted("logprob", p) for p in (found.policy, reference))
            kl = score(own) - score(other)
    return {
        "policy": found.policy.name,
        "prompt_id": prompt.prompt_id,
        "completion_id": answer.completion_id,
        "category": prompt.category,
        "prompt": prompt.messages[-1]["content"],
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "tokens": answer.completion_tokens,
        "reward": value,
        "kl": kl,
    }
