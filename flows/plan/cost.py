"""What a plan costs: calls, tokens, seconds, from what such calls and stages took before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.plan.answers import answer_count
from flows.plan.history import STEP_OF_LEVEL, Cost, History
from flows.plan.inputs import Inputs
from flows.plan.money import money
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
    by_step = history.call_cost(inputs.method.model_id)
    recipe = inputs.recipe
    limits = recipe.generation.max_new_tokens.model_dump()
    limits["answer"] = recipe.evaluation.max_new_tokens
    limits["sample"] = recipe.pairs.max_new_tokens
    whole = history.stage_cost("evaluate", inputs.base_model_id)
    if whole and whole.seconds:  # of evaluations from before their answers were kept
        seconds_each = whole.seconds / answer_count(inputs)
        by_step.setdefault("answer", Cost(seconds_each, limits["answer"], whole.device))
    is_known, used = True, dict[str, Cost]()
    for name, step in steps.items():
        kind = STEP_OF_LEVEL.get(name, "")
        span = step.to_generate if kind else step.to_train
        if not span[1]:
            continue
        cost = by_step.get(kind) if kind else history.stage_cost(name, inputs.base_model_id)
        cost = cost or Cost(None, float(limits.get(kind, 0)), "")
        if name == "comparisons" and inputs.judge and inputs.judge.chain_of_thought:
            cost = _with_reasoning(cost, by_step.get("judgement"), inputs.judge)
        used[name] = cost
        is_known = is_known and cost.seconds is not None
        for side, count in enumerate(span):
            calls[side] += count if kind else 0
            tokens[side] += count * cost.tokens
            seconds[side] += count * (cost.seconds or 0.0)
            gpu_seconds[side] += count * (cost.seconds or 0.0) * cost.is_on_gpu
    return {
        "calls": calls,
        "tokens": [round(value) for value in tokens],
        "seconds": [round(value, 1) for value in seconds] if is_known else None,
        "gpu_seconds": [round(value, 1) for value in gpu_seconds] if is_known else None,
        "money": money(inputs, steps, used),
    }
