"""The memo of every model call: look up what the ledger has, generate the rest, commit as it comes.

A run that is killed loses the answers of at most one uncommitted group and never a committed one;
the next run finds what is there and goes on from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from storage.ids import seed_of
from storage.ledger import Columns, Connection, Ledger, insert, insert_columns, now
from tasks.engines.engine import Batch, Completion, Engine, Request
from tasks.generation.calls import Answer, Call, CallForm

COMMIT_EVERY_S = 1.0

# An answer serves a limit it ended within, the limit it was cut at, and any narrower prompt limit.
SERVED = """
    SELECT c.completion_id, c.text, c.finish_reason, c.completion_tokens, c.cut_at
    FROM wanted w JOIN completions c USING (completion_id)
    WHERE (c.cut_at = 0 AND c.completion_tokens <= w.max_new_tokens)
       OR c.cut_at = w.max_new_tokens
       OR (c.cut_at = -1 AND c.prompt_tokens > w.max_prompt_tokens)
    QUALIFY row_number() OVER (PARTITION BY w.position ORDER BY c.created_at, c.cut_at) = 1
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
    return {row["completion_id"]: Answer(**row) for row in ledger.query(SERVED, wanted=wanted)}


def complete(
    ledger: Ledger,
    engine: Engine,
    run_id: str,
    calls: Sequence[Call],
    on_progress: OnProgress = lambda done, tokens: None,
) -> dict[str, Answer]:
    """Generate answers for `calls`, which are of one step, and commit them as they come.

    Groups are committed about once a second: every batch of a slow engine, many of a fast one.
    Equal calls are made once; where another run was first, its text is the answer. Returns the
    answers by completion id.
    """
    unique = list({call.completion_id: call for call in calls}.values())
    answers: dict[str, Answer] = {}
    waiting: list[_Made] = []
    last_commit, tokens = time.monotonic(), 0
    try:
        for batch in engine.generate([_request(call, engine) for call in unique]):
            for item in batch.items:
                call = unique[item.index]
                answers[call.completion_id] = _answer(call, item)
                waiting.append((call, item, batch))
                tokens += item.completion_tokens
            if time.monotonic() - last_commit >= COMMIT_EVERY_S:
                answers |= _commit(ledger, engine, run_id, waiting)
                waiting, last_commit = [], time.monotonic()
            on_progress(len(answers), tokens)
    finally:
        answers |= _commit(ledger, engine, run_id, waiting)
    return answers


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
    ends = {"length": call.sampling.max_new_tokens, "too_long": -1}
    cut_at = ends.get(item.finish_reason, 0)
    return Answer(call.completion_id, item.text, item.finish_reason, item.completion_tokens, cut_at)


_Made = tuple[Call, Completion, Batch[Completion]]


def _commit(
    ledger: Ledger, engine: Engine, run_id: str, made: Sequence[_Made]
) -> dict[str, Answer]:
    """Commit what was made; the answers of those that another run had committed before."""
    if not made:
        return {}
    columns = _call_columns([call for call, _, _ in made], run_id)
    columns |= _completion_columns(made, engine)
    with ledger.transaction() as con:
        _insert_examples(con, made[0][0].form)
        gained = insert_columns(con, "completions", columns)
    return {} if gained == len(made) else look_up(ledger, [call for call, _, _ in made])


def _call_columns(calls: Sequence[Call], run_id: str) -> Columns:
    count, form = len(calls), calls[0].form
    return {
        "completion_id": [call.completion_id for call in calls],
        "model_id": [form.model_id] * count,
        "prompt_id": [call.prompt_id for call in calls],
        "principle_id": [call.principle_id for call in calls],
        "few_shot_id": [form.few_shot_id] * count,
        "run_id": [run_id] * count,
        "step": [form.step] * count,
        "round": [call.round for call in calls],
        "request": [call.request for call in calls],
        "temperature": [form.sampling.temperature] * count,
        "top_p": [form.sampling.top_p] * count,
        "sample_index": [0] * count,
    }


def _completion_columns(made: Sequence[_Made], engine: Engine) -> Columns:
    count = len(made)
    return {
        "cut_at": [_answer(call, item).cut_at for call, item, _ in made],
        "text": [item.text for _, item, _ in made],
        "finish_reason": [item.finish_reason for _, item, _ in made],
        "prompt_tokens": [item.prompt_tokens for _, item, _ in made],
        "completion_tokens": [item.completion_tokens for _, item, _ in made],
        "engine": [engine.name] * count,
        "device": [engine.device] * count,
        "dtype": [engine.dtype] * count,
        "batch_rows": [len(batch.items) for _, _, batch in made],
        "duration_s": [batch.duration_s / len(batch.items) for _, _, batch in made],
        "created_at": [now()] * count,
    }


def _insert_examples(con: Connection, form: CallForm) -> None:
    if form.few_shot_id:
        messages = json.dumps(list(form.examples), ensure_ascii=False)
        insert(con, "few_shots", [{"few_shot_id": form.few_shot_id, "messages": messages}])
