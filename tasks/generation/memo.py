"""The memo of every model call: look up what the ledger has, generate the rest, commit as it comes.

A run that is killed loses the answers of at most one uncommitted group and never a committed one;
the next run finds what is there and goes on from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from storage.ids import canonical_json, seed_of
from storage.ledger import Connection, Ledger, Row, insert, now
from tasks.generation.calls import Answer, Call
from tasks.generation.engine import Batch, Completion, Engine, Request

COMMIT_EVERY_S = 1.0

# An answer serves a limit it ended within, the limit it was cut at, and any narrower prompt limit.
SERVED = """
    SELECT w.position, c.text, c.finish_reason, c.completion_tokens
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
    if not calls or not ledger.exists:
        return {}
    wanted = pa.table(
        {
            "position": list(range(len(calls))),
            "completion_id": [call.completion_id for call in calls],
            "max_new_tokens": [call.sampling.max_new_tokens for call in calls],
            "max_prompt_tokens": [call.sampling.max_prompt_tokens for call in calls],
        }
    )
    with ledger.transaction() as con:
        con.register("wanted", wanted)
        found = con.execute(SERVED).fetchall()
        con.unregister("wanted")
    return {
        calls[position].completion_id: Answer(calls[position].completion_id, text, reason, tokens)
        for position, text, reason, tokens in found
    }


def complete(
    ledger: Ledger,
    engine: Engine,
    run_id: str,
    calls: Sequence[Call],
    on_progress: OnProgress = lambda done, tokens: None,
) -> dict[str, Answer]:
    """Generate answers for `calls`, none of which the ledger has, and commit them as they come.

    Groups are committed about once a second: every batch of a slow engine, many of a fast one.
    Equal calls are made once. Returns the answers by completion id.
    """
    unique = list({call.completion_id: call for call in calls}.values())
    answers: dict[str, Answer] = {}
    waiting: list[Row] = []
    last_commit, tokens = time.monotonic(), 0
    try:
        for batch in engine.generate([_request(call) for call in unique]):
            for item in batch.items:
                call = unique[item.index]
                answers[call.completion_id] = Answer(
                    call.completion_id, item.text, item.finish_reason, item.completion_tokens
                )
                waiting.append(_row(call, item, batch, engine, run_id))
                tokens += item.completion_tokens
            if time.monotonic() - last_commit >= COMMIT_EVERY_S:
                _commit(ledger, unique, waiting)
                waiting, last_commit = [], time.monotonic()
            on_progress(len(answers), tokens)
    finally:
        _commit(ledger, unique, waiting)
    return answers


def _request(call: Call) -> Request:
    sampling = call.sampling
    return Request(
        messages=call.messages,
        text=None,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop=sampling.stop,
        max_new_tokens=sampling.max_new_tokens,
        max_prompt_tokens=sampling.max_prompt_tokens,
        seed=seed_of(call.completion_id),
    )


def _row(call: Call, item: Completion, batch: Batch, engine: Engine, run_id: str) -> Row:
    cut_at = {"length": call.sampling.max_new_tokens, "too_long": -1}.get(item.finish_reason, 0)
    return {
        "completion_id": call.completion_id,
        "cut_at": cut_at,
        "model_id": call.model_id,
        "prompt_id": call.prompt_id,
        "principle_id": call.principle_id,
        "few_shot_id": call.few_shot_id,
        "run_id": run_id,
        "step": call.step,
        "round": call.round,
        "request": canonical_json(list(call.messages[call.few_shot :])).decode(),
        "text": item.text,
        "finish_reason": item.finish_reason,
        "temperature": call.sampling.temperature,
        "top_p": call.sampling.top_p,
        "sample_index": call.sample_index,
        "prompt_tokens": item.prompt_tokens,
        "completion_tokens": item.completion_tokens,
        "engine": engine.name,
        "device": engine.device,
        "dtype": engine.dtype,
        "batch_rows": batch.rows,
        "duration_s": batch.duration_s / max(1, batch.rows),
        "created_at": now(),
    }


def _commit(ledger: Ledger, calls: Sequence[Call], values: list[Row]) -> None:
    if not values:
        return
    with ledger.transaction() as con:
        _insert_few_shots(con, calls, {row["few_shot_id"] for row in values})
        insert(con, "completions", values)


def _insert_few_shots(con: Connection, calls: Iterable[Call], wanted: set[str | None]) -> None:
    shared = {}
    for call in calls:
        if call.few_shot and call.few_shot not in shared:
            shared[call.few_shot] = call
    rows = [
        {
            "few_shot_id": call.few_shot_id,
            "messages": json.dumps(call.messages[:count], ensure_ascii=False),
        }
        for count, call in shared.items()
    ]
    insert(con, "few_shots", [row for row in rows if row["few_shot_id"] in wanted])
