"""Why a call was or will be made: what differs from the last call in the same place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from constitution.render import SPEAKERS, critique_message, revision_message
from constitution.schema import Principle
from constitution.teacher import shown
from storage.ledger import Columns, Ledger, Row
from tasks.generation.calls import Call
from tasks.judging.comparisons import Comparison

# The latest completion in the same place: same step, round and sample of the same prompt. Of the
# same recipe, if there is one; of another's those that its last run could reuse.
LATEST = """
    SELECT w.position, c.completion_id, c.cut_at, c.step, c.model_id, c.principle_id,
           c.few_shot_id, c.temperature, c.top_p, p.slug, p.critique, p.revision,
           CASE c.step WHEN 'teacher' THEN f.messages END AS prefix,
           coalesce(r.models->>c.step, 'null') <> 'null' AS is_named
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = w.step
        AND c.round IS NOT DISTINCT FROM w.round::INTEGER AND c.sample_index = w.sample_index
    LEFT JOIN principles p ON p.principle_id = c.principle_id
    LEFT JOIN few_shots f ON f.few_shot_id = c.few_shot_id
    LEFT JOIN (SELECT run_id, recipe, settings->'models' AS models FROM runs) r
        ON r.run_id = c.run_id
    WHERE coalesce(r.recipe, $1) = $1 OR $1 = '' OR c.created_at < (
        SELECT max(started_at) FROM runs WHERE recipe = $1 AND state <> 'running')
    QUALIFY row_number() OVER (PARTITION BY w.position
        ORDER BY coalesce(r.recipe, $1) <> $1, c.created_at DESC) = 1
"""
# The model that last judged the same two responses by the same principle.
JUDGED_BY = """
    SELECT w.position, c.model_id, coalesce(r.judge, 'null') <> 'null' AS is_named
    FROM wanted w
    JOIN comparisons c ON c.prompt_id = w.prompt_id AND c.principle_id = w.principle_id
        AND c.first_completion_id = w.first AND c.second_completion_id = w.second
        AND c.model_id <> w.model_id
    LEFT JOIN (SELECT run_id, recipe, settings->'models'->>'judge' AS judge FROM runs) r
        USING (run_id)
    WHERE coalesce(r.recipe, $1) = $1 OR $1 = ''
    QUALIFY row_number() OVER (PARTITION BY w.position ORDER BY c.created_at DESC) = 1
"""
UPSTREAM = "upstream"
# Which of its principle's words a step's request shows.
RENDERED = {"critique": ("critique",), "revision": ("critique", "revision")}
HOLE = "\0"


class Cause(NamedTuple):
    """The component of a call that differs, its value before, and its value now."""

    component: str
    was: str
    is_now: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a cause can be told from, of a call that is planned or of one in the ledger.

    cut_at as in `completions`. words: those of its principle that its request shows. shown: what a
    teacher is shown, piece by piece. is_named: whether its recipe names the model for the step.
    max_new_tokens, max_prompt_tokens and system: as far as known.
    """

    completion_id: str
    step: str
    model_id: str
    principle_id: str | None
    slug: str | None
    few_shot_id: str | None
    temperature: float
    top_p: float
    cut_at: int = 0
    words: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    max_new_tokens: int | None = None
    max_prompt_tokens: int | None = None
    system: str = "(another)"
    is_named: bool = False


def cause_of(call: Asked, before: Asked | None) -> Cause:
    """The first that applies: nothing to compare with, length limit, model, principle (the words of
    it that the step's request shows, or another assigned), worked examples, sampling, system
    message; where none does, what the call builds on differs ("upstream").
    """
    if before is None:
        return Cause("prompt" if call.step == "draft" else "step", "(none)", "new")
    if before.completion_id == call.completion_id:
        return _limit(call, before)
    if before.model_id != call.model_id:
        name = _model(call.step, call.is_named or before.is_named)
        return Cause(name, before.model_id, call.model_id)
    if call.principle_id and before.principle_id != call.principle_id:
        slug = call.slug or call.principle_id
        if before.slug != slug:
            return Cause("assignment", str(before.slug), slug)
        if before.words != call.words:
            return Cause(f"principle:{slug}", str(before.principle_id), call.principle_id)
    if before.shown != call.shown:
        return _shown(call, before)
    if before.few_shot_id != call.few_shot_id:
        return Cause("examples", str(before.few_shot_id), str(call.few_shot_id))
    was, is_now = (f"{c.temperature:g}/{c.top_p:g}" for c in (before, call))
    if was != is_now:
        return Cause("sampling", was, is_now)
    if call.step in ("draft", "sample"):  # the prompt is the same, so what stands before it is not
        return Cause("system", before.system, call.system)
    return Cause(UPSTREAM, "(other text)", "(new text)")


def role_of(step: str) -> str:
    """The role in which a step's calls are asked, as a recipe's `models` has it."""
    return "judge" if step == "judgement" else step


def _model(step: str, is_named: bool) -> str:
    """What a model is called as a cause: the recipe's one, or that of a role."""
    return f"models.{role_of(step)}" if is_named else "model"


def _limit(call: Asked, before: Asked) -> Cause:
    """The limit that keeps the answer of the same request from serving: it is too long for it, or
    was cut at another.
    """
    name = "max_prompt_tokens" if before.cut_at == -1 else "max_new_tokens"
    was = {-1: "too small", 0: "too large"}.get(before.cut_at, str(before.cut_at))
    limit = getattr(call, name)
    return Cause(name, was, "(not known)" if limit is None else str(limit))


def _shown(call: Asked, before: Asked) -> Cause:
    """The first piece that a teacher is no longer shown, and the first that it was not before."""
    gone = next((piece for piece in before.shown if piece not in call.shown), "(none)")
    new = next((piece for piece in call.shown if piece not in before.shown), "(none)")
    return Cause("what the teacher is shown", gone, new)


def shown_by(prefix: str | None) -> tuple[str, ...]:
    """The pieces of a teacher's prefix, which is given as the ledger has it."""
    return tuple(shown(json.loads(prefix))) if prefix else ()


def words_of(step: str, principle: Row) -> tuple[str, ...]:
    """The words of a row of `principles` that a step's request shows."""
    return tuple(principle[name] or "" for name in RENDERED.get(step, ()))


def causes(
    ledger: Ledger,
    calls: Sequence[Call],
    slugs: dict[str, str],
    roots: dict[str, str],
    named: Container[str] = (),
) -> Counter[tuple[str, ...]]:
    """(step, component, was, is, root) of calls the ledger cannot answer, with how many have it.

    `slugs` names the principles now in force by principle id. `roots` keeps each prompt's first
    cause, by prompt id, from call to call. `named`: the roles that the recipe names a model for.
    """
    latest = _latest(ledger, calls) if calls else {}
    counts: Counter[tuple[str, ...]] = Counter()
    for position, call in enumerate(calls):
        before = latest.get(position)
        asked = replace(_asked(call, slugs, before), is_named=call.step in named)
        found = cause_of(asked, before)
        root = roots.setdefault(call.prompt_id, found.component)
        counts[(call.step, *found, root)] += 1
    return counts


def judge_causes(
    ledger: Ledger, asked: Sequence[Comparison], is_named: bool
) -> Counter[tuple[str, ...]]:
    """The same of comparisons that another model made before. `is_named`: as in `Asked`."""
    wanted: Columns = {
        "position": list(range(len(asked))),
        "model_id": [c.judge.model_id for c in asked],
        "prompt_id": [c.prompt.prompt_id for c in asked],
        "principle_id": [c.principle_id for c in asked],
        "first": [c.first.completion_id for c in asked],
        "second": [c.second.completion_id for c in asked],
    }
    counts: Counter[tuple[str, ...]] = Counter()
    for row in ledger.query(JUDGED_BY, [ledger.recipe], wanted) if asked else []:
        name = _model("judge", is_named or row["is_named"])
        now = asked[row["position"]].judge.model_id
        counts[("comparison", name, row["model_id"], now, name)] += 1
    return counts


def _latest(ledger: Ledger, calls: Sequence[Call]) -> dict[int, Asked]:
    wanted: Columns = {
        "position": list(range(len(calls))),
        "prompt_id": [call.prompt_id for call in calls],
        "step": [call.step for call in calls],
        "round": [call.round for call in calls],
        "sample_index": [call.sample_index for call in calls],
    }
    latest = {}
    for row in ledger.query(LATEST, [ledger.recipe], wanted):
        position, words = row.pop("position"), words_of(row["step"], row)
        pieces = shown_by(row.pop("prefix"))
        del row["critique"], row["revision"]
        latest[position] = Asked(**row, words=words, shown=pieces)
    return latest


def _asked(call: Call, slugs: dict[str, str], before: Asked | None) -> Asked:
    sampling, first = call.sampling, call.messages[0]
    is_reworded = before and before.principle_id != call.principle_id and not _shows(call, before)
    return Asked(
        completion_id=call.completion_id,
        step=call.step,
        model_id=call.model_id,
        principle_id=call.principle_id,
        slug=slugs.get(call.principle_id or ""),
        few_shot_id=call.few_shot_id,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        max_prompt_tokens=sampling.max_prompt_tokens,
        words=before.words if before and not is_reworded else (),
        shown=tuple(shown(call.form.examples)) if call.step == "teacher" else (),
        system=first["content"] if first["role"] == "system" else "(none)",
    )


def _shows(call: Call, before: Asked) -> bool:
    """Whether a call's request is rendered from the words of the one before it."""
    request = call.messages[-1]["content"]
    return all(part in request for part in _rendered(before.step, before.words))


@lru_cache(maxsize=256)
def _rendered(step: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a request that are the same whatever conversation it is about."""
    if not words:
        return ()
    principle = Principle("", "", words[0], words[-1], "")
    asked = [{"role": "user", "content": HOLE}]
    if step == "critique":
        message = critique_message(principle, asked, HOLE)
    else:
        message = revision_message(principle, asked, HOLE, HOLE)
    return tuple(message["content"].replace(f"{SPEAKERS['user']}: {HOLE}", HOLE).split(HOLE))
