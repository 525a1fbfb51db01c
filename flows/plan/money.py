"""What the calls to a server that has a price would cost.

Tokens out are the plan's; tokens in are those of earlier calls of the step, else a guess: four
characters a token of the words that a request surely has, and the longest text that it may quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from constitution.render import few_shot_critique, few_shot_revision
from flows.plan.inputs import Inputs
from flows.plan.measured import Cost
from flows.plan.parts import ServerSettings
from flows.plan.plan import Range
from tasks.generation.calls import Message

A_MILLION = 1_000_000
CHARS_A_TOKEN = 4
COUNTED = 1000  # prompts whose length is looked at
VERDICT_TOKENS = 2


@dataclass(frozen=True)
class Part:
    """What a step asks of one model: how often ([min, max]), and what each call costs."""

    step: str
    model_id: str
    times: Range
    cost: Cost


def money(inputs: Inputs, parts: Iterable[Part]) -> list[float] | None:
    """[min, max] of the whole plan, in the currency of the prices; None where nobody has one."""
    priced = {
        hand.model_id: source
        for hand in inputs.asked
        if isinstance(source := hand.source, ServerSettings)
        and not (source.price_in is None and source.price_out is None)
    }
    if not priced:
        return None
    asked, total = Asked(inputs), [0.0, 0.0]
    for part in parts:
        if settings := priced.get(part.model_id):
            own = part.step, part.cost
            came, went = asked.tokens_out(*own), asked.tokens_in(*own)
            each = went * (settings.price_in or 0.0) + came * (settings.price_out or 0.0)
            for side, count in enumerate(part.times):
                total[side] += count * each / A_MILLION
    return [round(value, 4) for value in total]


class Asked:
    """What a call of each step sends to a server and gets from it, in tokens."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

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
