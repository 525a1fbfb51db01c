"""What a judge is: its model, how it is asked, and how its figures become a label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from constitution.render import few_shot_comparison, few_shot_reasoning
from storage.errors import InputError
from storage.ids import content_id
from tasks.generation.calls import CallForm, Message, Sampling

CHAIN_OF_THOUGHT_CLAMP = (0.4, 0.6)  # Bai et al. 2022, sec. 4.1
NO_CLAMP = (0.0, 1.0)
STEP = "judgement"  # of reasoning among the completions


@dataclass(frozen=True)
class Judge:
    """A model and how it is asked to compare. What does not change a figure is in no id.

    Raises InputError where a value is out of its range.
    """

    model_id: str  # the base's, or an adapter's
    n_principles: int = 1  # comparison questions a pair; the first is that of its round 0
    few_shot: bool = True  # worked comparisons before every request
    chain_of_thought: bool = False  # first write down what speaks for either response
    clamp: tuple[float, float] | None = None  # None: 0.4 to 0.6 with chain of thought, else none
    abstain: float = 0.1  # orders that name different responses may differ by this probability
    verdicts: Literal["logprobs", "sampled"] = "logprobs"  # sampled: for engines without them
    samples: int = 5  # sampled verdicts in each order
    temperature: float = 1.0  # of reasoning and of sampled verdicts
    max_reasoning_tokens: int = 160
    max_prompt_tokens: int = 4096  # of requests for reasoning and sampled verdicts

    def __post_init__(self) -> None:
        low, high = self.limits
        rules = {
            "n_principles": (self.n_principles >= 1, "is at least 1"),
            "clamp": (0.0 <= low <= 0.5 <= high <= 1.0, "is a low end up to 0.5 and a high end"),
            "abstain": (0.0 <= self.abstain <= 1.0, "is between 0 and 1"),
            "verdicts": (self.verdicts in ("logprobs", "sampled"), "is logprobs or sampled"),
            "samples": (self.samples >= 1, "is at least 1"),
            "temperature": (self.temperature >= 0.0, "is at least 0"),
            "max_reasoning_tokens": (self.max_reasoning_tokens >= 1, "is at least 1"),
            "max_prompt_tokens": (self.max_prompt_tokens >= 1, "is at least 1"),
        }
        for name, (is_kept, rule) in rules.items():
            if not is_kept:
                raise InputError(getattr(self, name), rule, "change it", f"judge.{name}")

    @property
    def limits(self) -> tuple[float, float]:
        """Between what a probability is clamped."""
        return self.clamp or (CHAIN_OF_THOUGHT_CLAMP if self.chain_of_thought else NO_CLAMP)

    @cached_property
    def examples(self) -> list[Message]:
        """The worked comparisons before every request: the same for all of them."""
        if not self.few_shot:
            return []
        return few_shot_reasoning() if self.chain_of_thought else few_shot_comparison()

    @cached_property
    def few_shot_id(self) -> str | None:
        return content_id("few_shot", self.examples) if self.few_shot else None

    @cached_property
    def reasoning_form(self) -> CallForm:
        """How reasoning is asked for; its completions are kept like any other."""
        limits = (self.max_reasoning_tokens, self.max_prompt_tokens)
        sampling = Sampling(self.temperature, 1.0, *limits)
        return CallForm(STEP, self.model_id, sampling, self.examples)

    @cached_property
    def method(self) -> dict[str, Any]:
        """The settings that change a figure, beside the model and the words."""
        found: dict[str, Any] = {"verdicts": self.verdicts}
        if self.verdicts == "sampled":
            found["samples"] = self.samples
        if self.chain_of_thought:
            found["max_reasoning_tokens"] = self.max_reasoning_tokens
        if self.verdicts == "sampled" or self.chain_of_thought:
            found["temperature"] = self.temperature
            found["max_prompt_tokens"] = self.max_prompt_tokens
        return found
