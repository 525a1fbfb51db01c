"""Model calls as Prefect tasks, a chunk of rows each; what the ledger has is not asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.plan.steps import Step
from flows.run import progress
from flows.run.session import Session
from tasks.engines.engine import Engine
from tasks.evaluation import scores
from tasks.generation import memo
from tasks.generation.calls import Answer, Call
from tasks.generation.memo import OnProgress

CHUNK_S = 20.0  # what a task should take, once the engine's speed is known

T = TypeVar("T")
Work = Callable[[OnProgress], int]


class Chunk:
    """The work of one task, and the rows done before it of `total`. A plain object: Prefect neither
    walks through it nor stores it.
    """

    def __init__(self, work: Work, done_before: int, total: int) -> None:
        self.work, self.done_before, self.total = work, done_before, total


@task(name="complete", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def complete_chunk(name: str, chunk: Chunk) -> dict[str, int]:
    """Do a chunk's work; batches are committed as they come."""
    started, tokens = time.monotonic(), 0

    def on_progress(done: int, written: int) -> None:
        nonlocal tokens
        tokens = written
        rate = tokens / max(time.monotonic() - started, 1e-6)
        note = f"{rate:.0f} tokens/s" if tokens else ""
        progress.current().update(chunk.done_before + done, chunk.total, note)

    rows = chunk.work(on_progress)
    return {"rows": rows, "tokens": tokens}


@dataclass
class Asker:
    """Has an engine answer calls and give scores, chunk by chunk."""

    session: Session
    step: Step
    engine: Callable[[], Engine]
    _rates: dict[str, float] = field(default_factory=dict)  # rows a second, by what is done

    def ask(
        self, name: str, calls: Sequence[Call], when_last: Callable[[], None] | None = None
    ) -> dict[str, Answer]:
        """The answers to calls of one form, by completion id: the ledger's, then the engine's.

        `when_last` is called as the last chunk begins.
        """
        session, ledger = self.session, self.session.ledger
        answers = memo.look_up(ledger, calls)
        missing = _without(calls, answers)
        if missing and session.workers.hold_device():  # another run may have had it meanwhile
            answers |= memo.look_up(ledger, missing)
            missing = _without(missing, answers)
        result = session.results.of(self.step)
        result.reused += len(answers)
        result.generated += len(missing)
        if answers:
            session.results.decide(self.step, self.step, "HIT", len(answers))
        if missing:
            session.results.decide(self.step, self.step, "MISS", len(missing))

        def work(part: Sequence[Call], on_progress: OnProgress) -> int:
            if when_last and part[-1] is missing[-1]:
                when_last()
            made = memo.complete(ledger, self.engine(), session.run_id, part, on_progress)
            answers.update(made)
            return len(made)

        self._in_chunks(name, "made", missing, work)
        return answers

    def score(self, name: str, wanted: Sequence[scores.Wanted]) -> dict[scores.Key, float]:
        """The scores that are wanted, by their keys: the ledger's, then the engine's."""
        session = self.session
        found = scores.look_up(session.ledger, wanted)
        missing = list({w.key: w for w in wanted if w.key not in found}.values())

        def work(part: Sequence[scores.Wanted], on_progress: OnProgress) -> int:
            made = scores.complete(session.ledger, self.engine(), session.run_id, part, on_progress)
            found.update(made)
            return len(made)

        if missing:
            session.workers.hold_device()
        self._in_chunks(name, "scored", missing, work)
        return found

    def _in_chunks(
        self,
        name: str,
        done: str,
        missing: Sequence[T],
        work: Callable[[Sequence[T], OnProgress], int],
    ) -> None:
        if not missing:
            return
        self.engine()  # a model that must be prepared shows its own bar first
        bar, started = progress.current(), time.monotonic()
        bar.start(name, len(missing), "rows")
        first = tokens = 0
        while first < len(missing):
            part = missing[first : first + self._chunk_rows(done)]
            chunk = Chunk(partial(work, part), first, len(missing))
            began = time.monotonic()
            rows = f"{name}: rows {first + 1} to {first + len(part)}"
            tokens += complete_chunk(rows, chunk)["tokens"]
            self._rates[done] = len(part) / (time.monotonic() - began)
            first += len(part)
        rate = f", {tokens / (time.monotonic() - started):.0f} tokens/s" if tokens else ""
        bar.finish(f"{len(missing)} {done}{rate}")

    def _chunk_rows(self, done: str) -> int:
        """The recipe's number of rows, or what the engine does in CHUNK_S where that is more."""
        rows = self.session.recipe.generation.chunk_rows
        return max(rows, int(self._rates.get(done, 0.0) * CHUNK_S))


def _without(calls: Iterable[Call], answers: Container[str]) -> list[Call]:
    """The calls that have no answer, equal ones once."""
    return list({c.completion_id: c for c in calls if c.completion_id not in answers}.values())
