"""The memo of every model call: look up what the ledger has, generate the rest, commit as it comes.

A run that is killed loses the answers of at most one uncommitted group and never a committed one;
the next run finds what is there and goes on from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from storage.ids import seed_of
from storage.ledger import Columns, Ledger, insert, now
from tasks.engines.engine import Batch, Completion, Engine, Request
from tasks.generation.calls import Answer, Call, CallForm, Sampling, heard

T = TypeVar("T")
COMMIT_EVERY_S = 1.0

# An answer serves a limit it ended within and the limit it was cut at. Whatever came of a prompt,
# it says that the prompt is too long for a narrower limit: nothing is asked to know that.
SERVED = """
    SELECT c.completion_id, w.max_prompt_tokens < c.prompt_tokens AS is_over,
        CASE WHEN is_over THEN '' ELSE c.text END AS text,
        CASE WHEN is_over THEN 'too_long' ELSE c.finish_reason END AS finish_reason,
        CASE WHEN is_over THEN 0 ELSE c.completion_tokens END AS completion_tokens,
        CASE WHEN is_over THEN -1 ELSE c.cut_at END AS cut_at
    FROM wanted w JOIN completions c USING (completion_id)
    WHERE is_over OR (c.cut_at = 0 AND c.completion_tokens <= w.max_new_tokens)
       OR c.cut_at = w.max_new_tokens
    QUALIFY row_number() OVER (PARTITION BY w.position ORDER BY is_over, c.created_at, c.cut_at) = 1
"""

# done: rows answered so far; tokens: tokens generated so far. Both of this call of `complete` only.
OnProgress = Callable[[int, int], None]


def look_up(ledger: Ledger, calls: Sequence[Call]) -> dict[str, Answer]:
    """The answers the ledger already has for these calls, by completion id."""
    if not calls:
        return {}
    wanted: Columns = {
        "position": list(range(len(calls))),
        "completion_id": [call.completion_id for call in calls],
        "max_new_tokens": [call.sampling.max_new_tokens for call in calls],
        "max_prompt_tokens": [call.sampling.max_prompt_tokens for call in calls],
    }
    thinking = {call.completion_id: call.sampling.thinking for call in calls}
    names = ("completion_id", "text", "finish_reason", "completion_tokens", "cut_at")
    found = [Answer(*(row[n] for n in names)) for row in ledger.query(SERVED, wanted=wanted)]
    return {a.completion_id: heard(a, thinking[a.completion_id]) for a in found}


def complete(
    ledger: Ledger,
    engine: Engine,
    run_id: str,
    calls: Sequence[Call],
    on_progress: OnProgress = lambda done, tokens: None,
) -> dict[str, Answer]:
    """Generate answers for `calls` and commit them as they come.

    Equal calls are made once; where another run was first, its text is the answer. Calls of one
    form are asked together, as they begin alike. Returns the answers by completion id.
    """
    unique = {call.completion_id: call for call in calls}.values()
    answers: dict[str, Answer] = {}
    tokens = 0
    with committing(partial(_commit, ledger, engine, run_id, answers)) as keep:
        for own in _by_form(unique):
            for batch in engine.generate([_request(call, engine) for call in own]):
                made = [(own[item.index], item, batch) for item in batch.items]
                answers |= {call.completion_id: _answer(call, item) for call, item, _ in made}
                tokens += sum(item.completion_tokens for item in batch.items)
                keep(made)
                on_progress(len(answers), tokens)
    return answers


def _by_form(calls: Iterable[Call]) -> list[list[Call]]:
    """The calls apart by the worked examples they begin with and by how they are sampled."""
    forms: dict[tuple[str | None, Sampling], list[Call]] = {}
    for call in calls:
        forms.setdefault((call.few_shot_id, call.sampling), []).append(call)
    return list(forms.values())


@contextmanager
def committing(commit: Callable[[list[T]], None]) -> Iterator[Callable[[Iterable[T]], None]]:
    """A function that takes what was made, for `commit` about once a second and at the end.

    So every batch of a slow engine is committed, and many of a fast one together.
    """
    waiting: list[T] = []
    last_commit = time.monotonic()

    def keep(made: Iterable[T]) -> None:
        nonlocal last_commit
        waiting.extend(made)
        if waiting and time.monotonic() - last_commit >= COMMIT_EVERY_S:
            commit(waiting)
            waiting.clear()
            last_commit = time.monotonic()

    try:
        yield keep
    finally:
        if waiting:
            commit(waiting)


def _request(call: Call, engine: Engine) -> Request:
    """What the engine is asked: with the adapter, where the call's model is one of its adapters."""
    sampling = call.sampling
    return Request(
        messages=(*call.form.examples, *call.messages),
        text=None,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop=sampling.stop,
        max_new_tokens=sampling.max_new_tokens,
        max_prompt_tokens=sampling.max_prompt_tokens,
        seed=seed_of(call.draw_id),
        adapter=call.model_id if call.model_id in engine.adapters else None,
    )


def _answer(call: Call, item: Completion) -> Answer:
    named = call.completion_id, item.text, item.finish_reason, item.completion_tokens
    return heard(Answer(*named, _cut_at(call, item)), call.sampling.thinking)


def _cut_at(call: Call, item: Completion) -> int:
    return {"length": call.sampling.max_new_tokens, "too_long": -1}.get(item.finish_reason, 0)


def _few_shot(found: tuple[str, CallForm]) -> dict[str, str]:
    name, form = found
    messages = json.dumps(list(form.examples), ensure_ascii=False)
    return {"few_shot_id": name, "messages": messages}


_Made = tuple[Call, Completion, Batch[Completion]]


def _commit(
    ledger: Ledger, engine: Engine, run_id: str, answers: dict[str, Answer], made: Sequence[_Made]
) -> None:
    """Commit what was made; where another run had done so before, its answers replace ours."""
    at = now()
    rows = [
        {
            "completion_id": call.completion_id,
            "cut_at": _cut_at(call, item),
            "model_id": call.model_id,
            "prompt_id": call.prompt_id,
            "principle_id": call.principle_id,
            "few_shot_id": call.few_shot_id,
            "run_id": run_id,
            "step": call.step,
            "round": call.round,
            "request": call.request,
            "temperature": call.sampling.temperature,
            "top_p": call.sampling.top_p,
            "sample_index": call.sample_index,
            "text": item.text,
            "finish_reason": item.finish_reason,
            "prompt_tokens": item.prompt_tokens,
            "completion_tokens": item.completion_tokens,
            "engine": engine.name,
            "device": engine.device,
            "dtype": engine.dtype,
            "batch_rows": len(batch.items),
            "duration_s": batch.duration_s / len(batch.items),
            "created_at": at,
        }
        for call, item, batch in made
    ]
    with ledger.transaction() as con:
        if few_shots := {call.few_shot_id: call.form for call, _, _ in made if call.few_shot_id}:
            insert(con, "few_shots", [_few_shot(found) for found in few_shots.items()])
        gained = insert(con, "completions", rows)
    if gained < len(made):
        answers |= look_up(ledger, [call for call, _, _ in made])
