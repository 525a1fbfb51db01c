"""What a plan costs: calls, tokens, seconds, from what such calls and stages took before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from flows.plan.answers import answer_count
from flows.plan.history import STEP_OF_LEVEL, Cost, History
from flows.plan.inputs import Inputs
from flows.plan.money import Part, money
from flows.plan.plan import StepPlan
from tasks.judging.judge import Judge


def _with_reasoning(cost: Cost, each: Cost | None, judge: Judge) -> Cost:
    """A comparison before which the judge weighs both responses, once in each order."""
    each = each or Cost(None, float(judge.max_reasoning_tokens), cost.device)
    known = None not in (cost.seconds, each.seconds)
    seconds = (cost.seconds or 0.0) + 2 * (each.seconds or 0.0)
    return Cost(seconds if known else None, cost.tokens + 2 * each.tokens, cost.device)


def cost_of(steps: Mapping[str, StepPlan], inputs: Inputs, history: History) -> dict[str, Any]:
    """`{"calls", "tokens", "seconds", "gpu_seconds", "money"}` as [min, max] of the whole plan.

    From this ledger's history of the same model, step and device on this machine; seconds are None
    where a step has none, money without a server that has a price.
    """
    calls, tokens = [0, 0], [0.0, 0.0]
    seconds, gpu_seconds = [0.0, 0.0], [0.0, 0.0]
    parts = list(_parts(steps, inputs, history))
    is_known = all(part.cost.seconds is not None for part in parts)
    for part in parts:
        cost = part.cost
        for side, count in enumerate(part.times):
            calls[side] += count if part.step in STEP_OF_LEVEL else 0
            tokens[side] += count * cost.tokens
            seconds[side] += count * (cost.seconds or 0.0)
            gpu_seconds[side] += count * (cost.seconds or 0.0) * cost.is_on_gpu
    return {
        "calls": calls,
        "tokens": [round(value) for value in tokens],
        "seconds": [round(value, 1) for value in seconds] if is_known else None,
        "gpu_seconds": [round(value, 1) for value in gpu_seconds] if is_known else None,
        "money": money(inputs, parts),
    }


def _parts(steps: Mapping[str, StepPlan], inputs: Inputs, history: History) -> Iterator[Part]:
    """The parts of a plan that cost something."""
    recipe, costs = inputs.recipe, cache(history.call_cost)
    limits = recipe.generation.max_new_tokens.model_dump()
    limits["answer"] = recipe.evaluation.max_new_tokens
    limits["sample"] = limits["teacher"] = recipe.pairs.max_new_tokens
    for name, step in steps.items():
        if name not in STEP_OF_LEVEL:
            if step.to_train[1]:
                cost = history.stage_cost(name, inputs.base_model_id)
                yield Part(name, "", step.to_train, cost or Cost(None, 0.0, ""))
            continue
        for model_id, times in (step.by_model or {"": step.to_generate}).items():
            kind, known = _kind(name, model_id, inputs), costs(model_id)
            cost = known.get(kind)
            if name == "evaluate":
                cost = cost or _answer(inputs, history, limits["answer"])
            cost = cost or Cost(None, float(limits.get(kind, 0)), "")
            if name == "comparisons" and inputs.judge and inputs.judge.chain_of_thought:
                cost = _with_reasoning(cost, known.get("judgement"), inputs.judge)
            if times[1]:
                yield Part(name, model_id, times, cost)


def _kind(name: str, model_id: str, inputs: Inputs) -> str:
    """The step of the calls of a level: a teacher's are told from others where it is another."""
    is_others = model_id in inputs.method.others.values() and model_id != inputs.method.model_id
    return "teacher" if name == "samples" and is_others else STEP_OF_LEVEL[name]


def _answer(inputs: Inputs, history: History, tokens: int) -> Cost | None:
    """What an answer costs by evaluations from before their answers were kept."""
    whole = history.stage_cost("evaluate", inputs.base_model_id)
    if whole is None or not whole.seconds:
        return None
    return Cost(whole.seconds / answer_count(inputs), tokens, whole.device)
