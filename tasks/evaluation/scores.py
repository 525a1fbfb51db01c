"""The memo of every score: what the ledger has is looked up, the rest is asked and committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from storage.ledger import Ledger, insert, now
from tasks.engines.engine import Continuation, Engine, Score
from tasks.generation.calls import Answer
from tasks.generation.memo import OnProgress, committing

Measure = Literal["logprob", "reward", "nll"]
KNOWN = "SELECT s.* FROM wanted JOIN scores s USING (completion_id, cut_at, model_id, measure)"


class Key(NamedTuple):
    """What names a score in the ledger."""

    completion_id: str
    cut_at: int
    model_id: str
    measure: Measure


@dataclass(frozen=True)
class Wanted:
    """A score that a model is to give an answer to `messages`; raw text answers none.

    logprob: of the answer, in nats; reward: of the conversation; nll: mean negative log-probability
    a token, in nats.
    """

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
    columns = {name: [getattr(w.key, name) for w in wanted] for name in Key._fields}
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
    with committing(partial(_commit, ledger, engine, run_id)) as keep:
        for made in _scored(engine, list({w.key: w for w in wanted}.values())):
            scores |= {w.key: value for w, value, _ in made}
            keep(made)
            on_progress(len(scores), 0)
    return scores


def _scored(engine: Engine, wanted: Sequence[Wanted]) -> Iterator[list[Made]]:
    ask = {"logprob": engine.score, "reward": engine.reward, "nll": engine.score}
    for measure, method in ask.items():
        own = [w for w in wanted if w.measure == measure]
        for batch in method([_continuation(w, engine) for w in own]):
            seconds = batch.duration_s / len(batch.items)
            yield [(own[i.index], _value(own[i.index], i), seconds) for i in batch.items]


def _value(wanted: Wanted, score: Score) -> float:
    return -score.value / len(score.logprobs) if wanted.measure == "nll" else score.value


def _continuation(wanted: Wanted, engine: Engine) -> Continuation:
    return Continuation(
        wanted.messages,
        wanted.answer.text,
        wanted.answer.finish_reason == "stop",
        wanted.temperature,
        wanted.model_id if wanted.model_id in engine.adapters else None,
    )


def _commit(ledger: Ledger, engine: Engine, run_id: str, made: Sequence[Made]) -> None:
    at = now()
    rows = [
        {
            **wanted.key._asdict(),
            "run_id": run_id,
            "value": value,
            "device": engine.device,
            "dtype": engine.dtype,
            "duration_s": seconds,
            "created_at": at,
        }
        for wanted, value, seconds in made
    ]
    with ledger.transaction() as con:
        insert(con, "scores", rows)
