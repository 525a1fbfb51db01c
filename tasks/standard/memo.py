"""The memo of what standard tasks ask a model: looked up, else asked and committed as it comes.

Apart from the memo of completions: what a library asks is raw text more often than a conversation,
and belongs to no prompt, step or run of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from storage.ids import canonical_json, digest
from storage.ledger import Ledger, Row, insert, now
from tasks.engines.engine import Batch, Completion, Continuation, Engine, Request, Score
from tasks.generation.memo import committing

KNOWN = """
    SELECT t.* FROM wanted JOIN task_requests t USING (request_id, model_id)"""
OnProgress = Callable[[int, int], None]  # how many of how many are answered


@dataclass(frozen=True)
class Question:
    """What a task asks: a text to score, or one to write. Its model is not part of it."""

    asked: Continuation | Request

    @cached_property
    def request_id(self) -> str:
        return digest(canonical_json(asdict(self.asked) | {"adapter": None}))


@dataclass(frozen=True)
class Reply:
    """See the table task_requests."""

    text: str | None
    finish_reason: str | None
    logprob: float | None
    is_greedy: bool | None
    token_count: int


class Asker:
    """Has questions answered by one model: an engine's base, or the base with an adapter on it."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        model_id: str,
        adapter: str | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> None:
        self._ledger, self._engine, self._model_id = ledger, engine, model_id
        self._adapter, self._on_progress = adapter, on_progress
        self.total = self.reused = self.refused = 0

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """The replies in the order of the questions; equal questions are asked once."""
        unique = {question.request_id: question for question in questions}
        found = self._look_up(list(unique))
        missing = [question for key, question in unique.items() if key not in found]
        self.total, self.reused = self.total + len(unique), self.reused + len(found)
        self._on_progress(len(found), len(unique))
        with committing(self._commit) as keep:
            for made, batch in self._answers(missing):
                found |= {question.request_id: reply for question, reply in made}
                keep((*one, batch.duration_s / len(batch.items)) for one in made)
                self._on_progress(len(found), len(unique))
        replies = [found[question.request_id] for question in questions]
        self.refused += sum(found[key].finish_reason == "too_long" for key in unique)
        return replies

    def _look_up(self, request_ids: list[str]) -> dict[str, Reply]:
        wanted = {"request_id": request_ids, "model_id": [self._model_id] * len(request_ids)}
        rows = self._ledger.query(KNOWN, wanted=wanted) if request_ids else []
        names = ("text", "finish_reason", "logprob", "is_greedy", "token_count")
        return {row["request_id"]: Reply(**{name: row[name] for name in names}) for row in rows}

    def _answers(
        self, questions: Sequence[Question]
    ) -> Iterator[tuple[list[tuple[Question, Reply]], Batch[Any]]]:
        """Questions with their replies, batch by batch; a call has one limit of new tokens."""
        calls: dict[int, list[Question]] = {}
        for question in questions:
            calls.setdefault(getattr(question.asked, "max_new_tokens", 0), []).append(question)
        for limit, own in calls.items():
            asked: list[Any] = [replace(q.asked, adapter=self._adapter) for q in own]
            batches: Iterator[Batch[Any]] = (
                self._engine.generate(asked) if limit else self._engine.score(asked)
            )
            for batch in batches:
                yield [(own[item.index], _reply(item)) for item in batch.items], batch

    def _commit(self, made: Sequence[tuple[Question, Reply, float]]) -> None:
        engine, at = self._engine, now()
        rows: list[Row] = [
            {
                "request_id": question.request_id,
                "model_id": self._model_id,
                "text": reply.text,
                "finish_reason": reply.finish_reason,
                "logprob": reply.logprob,
                "is_greedy": reply.is_greedy,
                "token_count": reply.token_count,
                "device": engine.device,
                "dtype": engine.dtype,
                "duration_s": seconds,
                "created_at": at,
            }
            for question, reply, seconds in made
        ]
        with self._ledger.transaction() as con:
            insert(con, "task_requests", rows)


def _reply(item: Completion | Score) -> Reply:
    if isinstance(item, Score):
        return Reply(None, None, item.value, item.is_greedy, len(item.logprobs))
    return Reply(item.text, item.finish_reason, None, None, item.completion_tokens)
