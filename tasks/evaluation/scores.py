"""The memo of every score: what the ledger has is looked up, the rest is asked and committed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from storage.ledger import Columns, Ledger, insert_columns, now
from tasks.engines.engine import Batch, Continuation, Engine, Score
from tasks.generation.calls import Answer
from tasks.generation.memo import COMMIT_EVERY_S, OnProgress

Measure = Literal["logprob", "reward"]
KNOWN = "SELECT s.* FROM wanted JOIN scores s USING (completion_id, cut_at, model_id, measure)"


class Key(NamedTuple):
    """What names a score in the ledger."""

    completion_id: str
    cut_at: int
    model_id: str
    measure: Measure


@dataclass(frozen=True)
class Wanted:
    """A score that a model is to give an answer to `messages`."""

    answer: Answer
    messages: Sequence[Mapping[str, str]]
    measure: Measure
    model_id: str
    temperature: float

    @property
    def key(self) -> Key:
        return Key(self.answer.completion_id, self.answer.cut_at, self.model_id, self.measure)


Made = tuple[Wanted, float, float]  # what was wanted, its score, the seconds it took


def look_up(ledger: Ledger, wanted: Sequence[Wanted]) -> dict[Key, float]:
    """The scores that the ledger has."""
    columns = _key_columns([w.key for w in wanted])
    found = ledger.query(KNOWN, wanted=columns) if wanted else []
    return {Key(*(row[name] for name in Key._fields)): row["value"] for row in found}


def complete(
    ledger: Ledger,
    engine: Engine,
    run_id: str,
    wanted: Sequence[Wanted],
    on_progress: OnProgress = lambda done, tokens: None,
) -> dict[Key, float]:
    """Have what is wanted scored, and commit scores about once a second, as they come."""
    scores: dict[Key, float] = {}
    waiting: list[Made] = []
    last_commit = time.monotonic()
    try:
        for made in _scored(engine, list({w.key: w for w in wanted}.values())):
            waiting += made
            scores |= {w.key: value for w, value, _ in made}
            if time.monotonic() - last_commit >= COMMIT_EVERY_S:
                _commit(ledger, engine, run_id, waiting)
                waiting, last_commit = [], time.monotonic()
            on_progress(len(scores), 0)
    finally:
        _commit(ledger, engine, run_id, waiting)
    return scores


def _scored(engine: Engine, wanted: Sequence[Wanted]) -> Iterator[list[Made]]:
    ask = {"logprob": engine.score, "reward": engine.reward}
    for measure, method in ask.items():
        own = [w for w in wanted if w.measure == measure]
        for batch in method([_continuation(w, engine) for w in own]):
            yield [(own[item.index], item.value, _seconds(batch)) for item in batch.items]


def _continuation(wanted: Wanted, engine: Engine) -> Continuation:
    return Continuation(
        wanted.messages,
        wanted.answer.text,
        wanted.answer.finish_reason == "stop",
        wanted.temperature,
        wanted.model_id if wanted.model_id in engine.adapters else None,
    )


def _seconds(batch: Batch[Score]) -> float:
    return batch.duration_s / len(batch.items)


def _commit(ledger: Ledger, engine: Engine, run_id: str, made: Sequence[Made]) -> None:
    if not made:
        return
    count = len(made)
    columns = _key_columns([wanted.key for wanted, _, _ in made]) | {
        "run_id": [run_id] * count,
        "value": [value for _, value, _ in made],
        "device": [engine.device] * count,
        "dtype": [engine.dtype] * count,
        "duration_s": [seconds for _, _, seconds in made],
        "created_at": [now()] * count,
    }
    with ledger.transaction() as con:
        insert_columns(con, "scores", columns)


def _key_columns(keys: Sequence[Key]) -> Columns:
    return {name: [getattr(key, name) for key in keys] for name in Key._fields}
