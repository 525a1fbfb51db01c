"""What the calls to a server that has a price would cost.

Tokens out are the plan's; tokens in are those of earlier calls of the step, else a guess: four
characters a token of the words that a request surely has, and the longest text that it may quote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice

from constitution.render import few_shot_critique, few_shot_revision
from flows.plan.history import STEP_OF_LEVEL, Cost
from flows.plan.inputs import Inputs
from flows.plan.plan import StepPlan
from tasks.generation.calls import Message

A_MILLION = 1_000_000
CHARS_A_TOKEN = 4
COUNTED = 1000  # prompts whose length is looked at
VERDICT_TOKENS = 2


def money(
    inputs: Inputs, steps: Mapping[str, StepPlan], costs: Mapping[str, Cost]
) -> list[float] | None:
    """[min, max] of the whole plan, in the currency of the prices; None where there is none.

    `costs`: of one call, by step; those that make no call may be missing.
    """
    settings = inputs.recipe.server
    if settings is None or (settings.price_in is None and settings.price_out is None):
        return None
    asked = Asked(inputs)
    total = [0.0, 0.0]
    for name in costs.keys() & STEP_OF_LEVEL.keys():
        if asked.is_servers(name):
            came, went = asked.tokens_out(name, costs[name]), asked.tokens_in(name, costs[name])
            each = went * (settings.price_in or 0.0) + came * (settings.price_out or 0.0)
            for side, count in enumerate(steps[name].to_generate):
                total[side] += count * each / A_MILLION
    return [round(value, 4) for value in total]


class Asked:
    """What a call of each step sends to a server and gets from it, in tokens."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def is_servers(self, name: str) -> bool:
        """Whether a step asks the server: an evaluation asks what was trained, as SFT's samples."""
        pairs = self.inputs.recipe.pairs
        is_own = pairs.candidates_of == "model" or pairs.shares.distilled > 0
        return name != "evaluate" and (name != "samples" or is_own)

    def tokens_in(self, name: str, cost: Cost) -> float:
        if name == "comparisons":
            return self._asked * self._guessed(name)
        return cost.prompt_tokens or self._guessed(name)

    def tokens_out(self, name: str, cost: Cost) -> float:
        if name != "comparisons":
            return cost.tokens
        return cost.tokens + self._asked * VERDICT_TOKENS

    @cached_property
    def _asked(self) -> int:
        """How often the judge is asked for one comparison."""
        judge = self.inputs.judge
        if judge is None:
            return 0
        return 2 * ((judge.samples if judge.verdicts == "sampled" else 1) + judge.chain_of_thought)

    def _guessed(self, name: str) -> float:
        limits, constitution = (
            self.inputs.recipe.generation.max_new_tokens,
            self.inputs.constitution,
        )
        judge = self.inputs.judge
        before: dict[str, Callable[[], Sequence[Message]]] = {
            "critiques": lambda: few_shot_critique(constitution),
            "revisions": lambda: few_shot_revision(constitution),
            "comparisons": lambda: judge.examples if judge else (),
        }
        quoted = {
            "critiques": limits.draft,
            "revisions": limits.draft + limits.critique,
            "comparisons": 2 * limits.revision,
        }
        examples = sum(len(message["content"]) for message in before.get(name, tuple)())
        return (examples + self._prompt_chars) / CHARS_A_TOKEN + quoted.get(name, 0)

    @cached_property
    def _prompt_chars(self) -> float:
        looked_at = list(islice(self.inputs.prompts, COUNTED))
        chars = sum(len(m["content"]) for prompt in looked_at for m in prompt.messages)
        return chars / max(1, len(looked_at)) + len(self.inputs.recipe.generation.system)
