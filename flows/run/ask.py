"""Model calls as Prefect tasks, a chunk of rows each; what the ledger has is not asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.plan.answers import unanswered
from flows.plan.steps import Step
from flows.run import progress
from flows.run.session import Session
from tasks.engines.engine import Engine
from tasks.evaluation import scores
from tasks.generation import memo
from tasks.generation.calls import Answer, Call
from tasks.generation.memo import OnProgress
from tasks.judging import memo as judging
from tasks.judging.comparisons import Comparison, Judged

CHUNK_S = 20.0  # what a task should take, once the engine's speed is known

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Work = Callable[[OnProgress], int]


@task(name="complete", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def complete_chunk(name: str, work: Work, done_before: int, total: int) -> dict[str, int]:
    """Do a chunk's work, into which Prefect does not look; batches are committed as they come.

    done_before: rows of `total` that the chunks before it had.
    """
    started, tokens = time.monotonic(), 0

    def on_progress(done: int, written: int) -> None:
        nonlocal tokens
        tokens = written
        rate = tokens / max(time.monotonic() - started, 1e-6)
        note = f"{rate:.0f} tokens/s" if tokens else ""
        progress.current().update(done_before + done, total, note)

    return {"rows": work(on_progress), "tokens": tokens}


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
        missing = unanswered(calls, answers)
        if missing and session.workers.hold_device():  # another run may have had it meanwhile
            answers |= memo.look_up(ledger, missing)
            missing = unanswered(missing, answers)
        result = session.results.of(self.step)
        result.reused += len(answers)
        result.generated += len(missing)
        for verdict, found in (("HIT", answers), ("MISS", missing)):
            if found:
                session.results.decide(self.step, self.step, verdict, len(found))

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
        found = scores.look_up(self.session.ledger, wanted)
        missing = list({w.key: w for w in wanted if w.key not in found}.values())
        self._have(name, "scored", missing, scores.complete, found)
        return found

    def compare(self, name: str, comparisons: Sequence[Comparison]) -> dict[str, Judged]:
        """What the judge says, by comparison id: the ledger's word, then the engine's."""
        result = self.session.results.of(self.step)
        wanted = list({c.comparison_id: c for c in comparisons}.values())
        found = judging.look_up(self.session.ledger, wanted)
        missing = [c for c in wanted if c.comparison_id not in found]
        result.reused += len(found)
        result.generated += len(missing)
        self._have(name, "compared", missing, judging.complete, found)
        return found

    def _have(
        self,
        name: str,
        done: str,
        missing: Sequence[T],
        complete: Callable[..., dict[K, V]],
        found: dict[K, V],
    ) -> None:
        """Have the engine do what is missing and add it to what was found."""

        def work(part: Sequence[T], on_progress: OnProgress) -> int:
            run_id, ledger = self.session.run_id, self.session.ledger
            made = complete(ledger, self.engine(), run_id, part, on_progress)
            found.update(made)
            return len(made)

        if missing:
            self.session.workers.hold_device()
        self._in_chunks(name, done, missing, work)

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
            began = time.monotonic()
            rows = f"{name}: rows {first + 1} to {first + len(part)}"
            made = complete_chunk(rows, partial(work, part), first, len(missing))
            tokens += made["tokens"]
            self._rates[done] = len(part) / (time.monotonic() - began)
            first += len(part)
        rate = f", {tokens / (time.monotonic() - started):.0f} tokens/s" if tokens else ""
        bar.finish(f"{len(missing)} {done}{rate}")

    def _chunk_rows(self, done: str) -> int:
        """The recipe's number of rows, or what the engine does in CHUNK_S where that is more."""
        rows = self.session.recipe.generation.chunk_rows
        return max(rows, int(self._rates.get(done, 0.0) * CHUNK_S))
