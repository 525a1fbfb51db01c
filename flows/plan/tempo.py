"""How long calls and stages take: as this machine measured it, else by the first rates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from flows.plan.first_rates import (
    A_COMPARISON,
    A_PASSAGE,
    A_TOKEN,
    SPREAD,
    START_S,
    Basis,
    Guess,
    guess_of,
)
from flows.plan.inputs import Inputs
from flows.plan.measured import Cost, Measured, Rate
from flows.plan.plan import Seconds
from flows.plan.recipe import Recipe
from tasks.judging.judge import Judge
from tasks.machine import gpus
from tasks.model_size import parameters

WORST: tuple[Basis, ...] = ("measured", "first", "scaled")


def limits_of(recipe: Recipe) -> dict[str, int]:
    """The longest answer of each step, in tokens."""
    limits: dict[str, int] = recipe.generation.max_new_tokens.model_dump()
    pairs = recipe.pairs.max_new_tokens
    own = {"answer": recipe.evaluation.max_new_tokens, "judgement": Judge.max_reasoning_tokens}
    return limits | own | {"sample": pairs, "teacher": pairs}


def total(parts: Iterable[Seconds]) -> Seconds:
    """All of them, resting on the least certain."""
    found = list(parts)
    basis = WORST[max((WORST.index(part.basis) for part in found), default=0)]
    return Seconds(sum(part.low for part in found), sum(part.high for part in found), basis)


def start_of(seconds: float, basis: Basis) -> Seconds:
    """What is no model's work, on a machine of which as much is known: no size scales it."""
    low, high = SPREAD["measured" if basis == "measured" else "first"]
    return Seconds(seconds * low, seconds * high, basis)


class Tempo:
    """Of the models of one recipe."""

    def __init__(self, inputs: Inputs, measured: Measured) -> None:
        self.inputs, self.measured = inputs, measured
        self._guess, self.parameters = cache(self._guessed), cache(self._parameters)
        self._stage = cache(measured.stage)

    def call(self, step: str, model_id: str, cost: Cost) -> Seconds | None:
        """Of a call that costs so many tokens; None where nobody knows."""
        if cost.seconds is not None:
            return Seconds(cost.seconds, cost.seconds, is_on_gpu=cost.is_on_gpu)
        each = A_TOKEN.get(step, A_TOKEN["judgement"]) * cost.tokens
        each += A_COMPARISON * (step == "comparison")
        return self._by_guess(each, self._guess(model_id))

    def passage(self) -> Seconds | None:
        """Of reading a passage of ordinary text."""
        found = self.measured.passage(self.inputs.base_model_id)
        if found is not None:
            return Seconds(found, found)
        return self._by_guess(A_PASSAGE, self._guess(self.inputs.base_model_id))

    def rate(self, stage: str) -> Rate | None:
        """What this machine measured of a stage on the recipe's base."""
        return self._stage(stage, self.inputs.base_model_id)

    def stage(self, stage: str, tokens: tuple[float, float]) -> Seconds | None:
        """Of a stage whose work is so many tokens at least and at most."""
        if rate := self.rate(stage):
            found: Seconds | None = Seconds(rate.seconds, rate.seconds)
        else:
            found = self._by_guess(A_TOKEN[stage], self._guess(self.inputs.base_model_id))
        if found is None:
            return None
        start, made = start_of(START_S, found.basis), found.times(*tokens)
        low, high = start.low * (tokens[0] > 0), start.high * (tokens[1] > 0)
        on_gpu = Cost(None, 0.0, rate.device).is_on_gpu if rate else bool(gpus())
        return Seconds(made.low + low, made.high + high, made.basis, on_gpu)

    def _by_guess(self, seconds: float, guess: Guess | None) -> Seconds | None:
        if guess is None:
            return None
        return Seconds(seconds * guess.low, seconds * guess.high, guess.basis, bool(gpus()))

    def _guessed(self, model_id: str) -> Guess | None:
        """By the size of the weights that a model is asked with here."""
        return guess_of(self.parameters(model_id), self.inputs.recipe.compute)

    def _parameters(self, model_id: str) -> int | None:
        """How many the weights have behind a model's id; None of servers and unknown sizes."""
        inputs = self.inputs
        if model_id in ("", inputs.base_model_id):
            return parameters(inputs.folder, inputs.recipe.model)
        for hand in inputs.asked:
            if hand.model_id == model_id and isinstance(hand.source, str):
                return parameters(hand.seen.folder if hand.seen else None, hand.source)
        return None
