"""What a plan costs: calls, tokens, seconds and memory, from its settings and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from flows.plan.answers import answer_count
from flows.plan.first_rates import RUN_S, START_S
from flows.plan.history import STEP_OF_LEVEL
from flows.plan.inputs import Inputs
from flows.plan.measured import Cost
from flows.plan.money import Part, money
from flows.plan.plan import Seconds, StepPlan
from flows.plan.questions import passages_of
from flows.plan.tempo import Tempo, limits_of, start_of, total
from tasks.judging.judge import Judge


def _with_reasoning(cost: Cost, each: Cost | None, judge: Judge) -> Cost:
    """A comparison before which the judge weighs both responses, once in each order."""
    each = each or Cost(None, float(judge.max_reasoning_tokens), cost.device)
    known = None not in (cost.seconds, each.seconds)
    seconds = (cost.seconds or 0.0) + 2 * (each.seconds or 0.0)
    return Cost(seconds if known else None, cost.tokens + 2 * each.tokens, cost.device)


def cost_of(steps: Mapping[str, StepPlan], inputs: Inputs, tempo: Tempo) -> dict[str, Any]:
    """`{"calls", "tokens", "seconds", "gpu_seconds", "basis", "memory", "money"}` of the whole
    plan, all but the basis as [min, max].

    Seconds are None where nobody knows how long a model takes that is asked, memory (bytes, of the
    stage that takes most) without training, money without a server that has a price.
    """
    parts = list(_parts(steps, inputs, tempo))
    times = [_seconds(part, tempo) for part in parts] + list(_others(steps, inputs, tempo))
    known = [found for found in times if found is not None]
    is_known = len(known) == len(times)
    known.append(start_of(_starts(steps), total(known).basis))
    spent, on_gpu = total(known), total(found for found in known if found.is_on_gpu)
    return {
        "calls": [sum(part.times[side] for part in parts) for side in (0, 1)],
        "tokens": [round(sum(p.times[side] * p.cost.tokens for p in parts)) for side in (0, 1)],
        "seconds": _rounded(spent) if is_known else None,
        "gpu_seconds": _rounded(on_gpu) if is_known else None,
        "basis": spent.basis,
        "memory": _most_memory(steps.values()),
        "money": money(inputs, parts),
    }


def _rounded(found: Seconds) -> list[float]:
    return [round(found.low, 1), round(found.high, 1)]


def _most_memory(steps: Iterable[StepPlan]) -> list[int] | None:
    trained = (step.training for step in steps if step.training and step.to_train[1])
    found = [training.memory for training in trained if training.memory]
    return [round(max(memory[side] for memory in found)) for side in (0, 1)] if found else None


def _parts(steps: Mapping[str, StepPlan], inputs: Inputs, tempo: Tempo) -> Iterator[Part]:
    """What is asked of whom, and what a call costs, as far as that was measured."""
    limits = limits_of(inputs.recipe)
    costs = cache(lambda model_id: tempo.measured.calls(model_id, limits))
    for name, step in steps.items():
        if name not in STEP_OF_LEVEL:
            continue
        for model_id, times in (step.by_model or {"": step.to_generate}).items():
            kind = _kind(name, model_id, inputs)
            known = costs(model_id or inputs.base_model_id)
            cost = known.get(kind)
            if kind == "sample":
                cost = _of_samples(known, inputs)
            if name == "evaluate":
                cost = cost or _answer(inputs, tempo, limits["answer"])
            cost = cost or Cost(None, float(limits.get(kind, 0)), "")
            if name == "comparisons" and inputs.judge and inputs.judge.chain_of_thought:
                cost = _with_reasoning(cost, known.get("judgement"), inputs.judge)
            if times[1]:
                yield Part(name, model_id, times, cost)


def _kind(name: str, model_id: str, inputs: Inputs) -> str:
    """The step of the calls of a level: a teacher's are told from others where it is another."""
    is_others = model_id in inputs.method.others.values() and model_id != inputs.method.model_id
    return "teacher" if name == "samples" and is_others else STEP_OF_LEVEL[name]


def _of_samples(known: Mapping[str, Cost], inputs: Inputs) -> Cost | None:
    """A call of a teacher and a student that are one model: of both, as often as they are asked."""
    taught, sampled, method = known.get("teacher"), known.get("sample"), inputs.method
    if taught is None or sampled is None or not method.shares["distilled"]:
        return sampled
    share = method.samples / (method.samples + method.student_samples)
    known_s = None not in (taught.seconds, sampled.seconds)
    seconds = share * (taught.seconds or 0.0) + (1 - share) * (sampled.seconds or 0.0)
    return Cost(
        seconds if known_s else None,
        share * taught.tokens + (1 - share) * sampled.tokens,
        sampled.device,
        share * (taught.prompt_tokens or 0.0) + (1 - share) * (sampled.prompt_tokens or 0.0),
    )


def _answer(inputs: Inputs, tempo: Tempo, tokens: int) -> Cost | None:
    """What an answer costs by evaluations from before their answers were kept."""
    whole = tempo.measured.evaluation(inputs.base_model_id)
    if whole is None or not whole.seconds:
        return None
    return Cost(whole.seconds / answer_count(inputs), tokens, whole.device)


def _seconds(part: Part, tempo: Tempo) -> Seconds | None:
    """Of all calls of a part."""
    each = tempo.call(STEP_OF_LEVEL[part.step], part.model_id, part.cost)
    return each and each.times(*part.times)


def _others(
    steps: Mapping[str, StepPlan], inputs: Inputs, tempo: Tempo
) -> Iterator[Seconds | None]:
    """What is no call: stages, and the reading of ordinary text."""
    for step in steps.values():
        if step.training and step.to_train[1]:
            found = step.training.seconds
            yield found and found.times(step.to_train[0], 1)
    evaluated = steps.get("evaluate")
    if evaluated and evaluated.to_generate[1]:
        yield _reading(evaluated, inputs, tempo)


def _starts(steps: Mapping[str, StepPlan]) -> float:
    """Seconds of a run and its engines, until the first answer of each."""
    asked = {name for name in STEP_OF_LEVEL if name in steps and steps[name].to_generate[1]}
    engines = len(asked & {"evaluate"}) + bool(asked - {"evaluate"})
    is_run = asked or any(step.to_train[1] for step in steps.values())
    return RUN_S + START_S * engines if is_run else 0.0


def _reading(evaluated: StepPlan, inputs: Inputs, tempo: Tempo) -> Seconds | None:
    """Of ordinary text, which is read by every policy that answers."""
    passages, each = len(passages_of(inputs)), tempo.passage()
    answers = inputs.recipe.evaluation.answers * max(len(inputs.questions), 1)
    low, high = (passages * count / answers for count in evaluated.to_generate)
    return each and each.times(low, high) if passages else Seconds(0.0, 0.0)
