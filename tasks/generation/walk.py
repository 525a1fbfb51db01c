"""The method's data side, one prompt at a time, by its source (see sources.py): a draft, then
critique and revision in every round; several answers of a teacher and a student; or of one model.

`walk` is written once and followed twice: a run answers every call, a plan answers only those the
ledger has and counts the rest. A prompt whose call has no answer waits; what lies behind it is
unknown, and the step is told how many prompts wait. Prompts are walked a window at a time, so that
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.generation.assemble import Exclusion, Step
from tasks.generation.calls import Answer, Call, Turn
from tasks.generation.method import Method
from tasks.generation.sources import Pool, Source
from tasks.prompts import Prompt

WINDOW = 8192  # prompts walked together

LevelStep = Literal["drafts", "critiques", "revisions", "samples"]


@dataclass(frozen=True)
class Level:
    """One level of the walk: all calls of a step and round to one model, and the prompts that wait
    before it. `whose`: of samples, who gives them.
    """

    step: LevelStep
    model_id: str
    round: int | None
    calls: Sequence[Call]
    waiting: Sequence[Prompt]
    whose: str = ""


# Answers by completion id; a call may be left without one (its prompt then waits).
Answerer = Callable[[Level], dict[str, Answer]]


@dataclass
class Walk:
    """What came of it: steps, in the order of rounds, and pools of the prompts that do not wait.

    `waiting`: prompts by id, none after a run. `later`: those whose candidates are of a model that
    is not trained yet.
    """

    steps: list[Step] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    waiting: dict[str, Prompt] = field(default_factory=dict)
    later: list[Prompt] = field(default_factory=list)


def windows(prompts: Sequence[Prompt], size: int = WINDOW) -> Iterator[Sequence[Prompt]]:
    """The prompts in order, at most `size` at a time."""
    for first in range(0, len(prompts), size):
        yield prompts[first : first + size]


def walk(method: Method, prompts: Sequence[Prompt], answer: Answerer) -> Walk:
    """Take every prompt through what its source asks for, as far as `answer` answers."""
    done = Walk()
    by_source: dict[Source, list[Prompt]] = {"revision": [], "distilled": [], "candidates": []}
    for prompt in prompts:
        by_source[method.source(prompt)].append(prompt)
    for source, own in by_source.items():
        if own:
            _FOLLOWED[source](done, method, own, answer)
    done.steps = [step for step in done.steps if step.turn.prompt_id not in done.waiting]
    done.pools = [pool for pool in done.pools if pool.prompt.prompt_id not in done.waiting]
    return done


def _revise(done: Walk, method: Method, prompts: Sequence[Prompt], answer: Answerer) -> None:
    """Draft, critique and revise; the last revision is presumed to be better than the draft."""
    calls = [method.draft(prompt) for prompt in prompts]
    drafts = _level(done, ("drafts", method.model_of("draft"), None), calls, prompts, answer)
    turns = [
        Turn(prompt, drafts[prompt.prompt_id], method.principles(prompt))
        for prompt in prompts
        if prompt.prompt_id in drafts
    ]
    for round in range(method.rounds):
        turns = _round(done, method, turns, round, answer)
    final = {step.turn.prompt_id: step for step in done.steps}
    for prompt_id, step in final.items():
        met = tuple(dict.fromkeys(step.turn.principles[: step.round + 1]))
        responses = (step.revision,), (drafts[prompt_id],)
        done.pools.append(Pool(step.turn.prompt, "revision", met, *responses, step.revision_id))


def _round(
    done: Walk, method: Method, turns: list[Turn], round: int, answer: Answerer
) -> list[Turn]:
    """One critique and revision of every current response; returns the turns of the next round."""
    calls = [method.critique(turn, round) for turn in turns]
    critic = method.model_of("critique")
    critiques = _level(done, ("critiques", critic, round), calls, _prompts(turns), answer)

    turns = [turn for turn in turns if turn.prompt_id in critiques]
    calls = [method.revise(turn, round, critiques[turn.prompt_id]) for turn in turns]
    reviser = method.model_of("revision")
    revisions = _level(done, ("revisions", reviser, round), calls, _prompts(turns), answer)

    turns = [turn for turn in turns if turn.prompt_id in revisions]
    for turn in turns:
        principle = method.principle_ids[turn.principles[round].slug]
        critique, revision = critiques[turn.prompt_id], revisions[turn.prompt_id]
        done.steps.append(Step(turn, round, principle, critique, revision))
    return [Turn(turn.prompt, revisions[turn.prompt_id], turn.principles) for turn in turns]


def _prompts(turns: Sequence[Turn]) -> list[Prompt]:
    return [turn.prompt for turn in turns]


def _level(
    done: Walk,
    place: tuple[LevelStep, str, int | None],
    calls: Sequence[Call],
    prompts: Sequence[Prompt],
    answer: Answerer,
) -> dict[str, Answer]:
    """Answers by prompt id; unanswered prompts are set waiting, those too long are excluded.

    place: the step, the model that is asked, and the round.
    """
    answers, step = answer(Level(*place, calls, list(done.waiting.values()))), place[0]
    usable: dict[str, Answer] = {}
    for call, prompt in zip(calls, prompts, strict=True):
        found = _usable(done, step, prompt, [answers.get(call.completion_id)])
        if found:
            usable[prompt.prompt_id] = found[0]
    return usable


def _usable(
    done: Walk, step: LevelStep, prompt: Prompt, found: Sequence[Answer | None]
) -> tuple[Answer, ...]:
    """The answers, if all are there and none was too long to try."""
    there = tuple(answer for answer in found if answer)
    if len(there) < len(found):
        done.waiting[prompt.prompt_id] = prompt
    elif any(answer.finish_reason == "too_long" for answer in there):
        done.exclusions.append(Exclusion(prompt.prompt_id, step, "too_long"))
    else:
        return there
    return ()


def _distil(done: Walk, method: Method, prompts: Sequence[Prompt], answer: Answerer) -> None:
    """Answers of a teacher, presumed to be better than those of the student, which is shown
    nothing.
    """
    shown = {prompt.prompt_id: method.shown_to(prompt) for prompt in prompts}
    teacher = [method.teach(prompt, shown[prompt.prompt_id]) for prompt in prompts]
    student = [method.sample(method.model_id, p, method.student_samples) for p in prompts]
    asked = method.model_of("teacher"), "the teacher's"
    taught = _samples(done, prompts, answer, asked, teacher)
    untaught = _samples(done, prompts, answer, (method.model_id, "the student's"), student)
    for prompt in prompts:
        found = taught[prompt.prompt_id], untaught[prompt.prompt_id]
        if all(found):
            met = shown[prompt.prompt_id]
            done.pools.append(Pool(prompt, "distilled", met, *found))


def _compare(done: Walk, method: Method, prompts: Sequence[Prompt], answer: Answerer) -> None:
    """Several answers of one model, each of which may be the better one."""
    model_id = method.candidates_of
    if model_id is None:
        done.later = list(prompts)
        return
    calls = [method.sample(model_id, prompt, method.samples) for prompt in prompts]
    found = _samples(done, prompts, answer, (model_id, "candidates"), calls)
    for prompt in prompts:
        if answers := found[prompt.prompt_id]:
            shown = method.shown_to(prompt)
            done.pools.append(Pool(prompt, "candidates", shown, answers, answers))


_Follow = Callable[[Walk, Method, Sequence[Prompt], Answerer], None]
_FOLLOWED: dict[Source, _Follow] = {
    "revision": _revise,
    "distilled": _distil,
    "candidates": _compare,
}


def _samples(
    done: Walk,
    prompts: Sequence[Prompt],
    answer: Answerer,
    asked: tuple[str, str],
    calls: Sequence[Sequence[Call]],
) -> dict[str, tuple[Answer, ...]]:
    """The answers to every prompt's calls by its id; none where not all of them are usable.

    asked: the model, and whose answers these are.
    """
    model_id, whose = asked
    every = [call for own in calls for call in own]
    answers = answer(Level("samples", model_id, None, every, [], whose))
    usable: dict[str, tuple[Answer, ...]] = {}
    for prompt, own in zip(prompts, calls, strict=True):
        found = [answers.get(call.completion_id) for call in own]
        usable[prompt.prompt_id] = _usable(done, "samples", prompt, found)
    return usable
