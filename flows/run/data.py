"""The data side as Prefect tasks, a chunk of rows each; what the ledger has is not asked again."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.plan.steps import Step, at_most
from flows.run import progress
from flows.run.publish import publish_samples
from flows.run.session import Session, timed
from storage.errors import SolonError
from tasks.generation.calls import Answer, Call
from tasks.generation.memo import complete, look_up
from tasks.generation.record import (
    record_exclusions,
    record_prompts,
    record_rows,
    record_snapshot,
)
from tasks.generation.snapshots import Rows
from tasks.generation.walk import Level, LevelStep, Method, Walk, walk, windows
from tasks.prompts import Prompt

CHUNK_S = 20.0  # what a task should take, once the engine's speed is known


class Chunk:
    """The calls of one task. A plain object: Prefect neither walks through it nor stores it."""

    def __init__(
        self,
        session: Session,
        calls: Sequence[Call],
        done_before: int,
        total: int,
        next_job: Step | None = None,
    ) -> None:
        self.session, self.calls = session, calls
        self.done_before, self.total, self.next_job = done_before, total, next_job
        self.answers: dict[str, Answer] = {}


@task(name="complete", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def complete_chunk(name: str, chunk: Chunk) -> dict[str, int]:
    """Answer a chunk of calls that the ledger cannot; batches are committed as they come."""
    session, started = chunk.session, time.monotonic()

    def on_progress(done: int, tokens: int) -> None:
        rate = tokens / max(time.monotonic() - started, 1e-6)
        progress.current().update(chunk.done_before + done, chunk.total, f"{rate:.0f} tokens/s")

    if chunk.next_job:
        session.warm_up(chunk.next_job)
    chunk.answers = complete(
        session.ledger, session.engine(), session.run_id, chunk.calls, on_progress
    )
    return {
        "rows": len(chunk.answers),
        "tokens": sum(a.completion_tokens for a in chunk.answers.values()),
    }


class Generator:
    """Answers every call of a level: what the ledger has, then the rest, chunk by chunk."""

    def __init__(self, session: Session, until: Step | None) -> None:
        self.session, self.until = session, until
        self.is_last_window = True
        self._rates: dict[LevelStep, float] = {}  # rows a second

    def __call__(self, level: Level) -> dict[str, Answer]:
        if not at_most(level.step, self.until):
            return {}
        result = self.session.result(level.step)
        with timed(result):
            answers = look_up(self.session.ledger, level.calls)
            missing = _without(level.calls, answers)
            if missing and self.session.hold_device():  # another run may have had it meanwhile
                answers |= look_up(self.session.ledger, missing)
                missing = _without(missing, answers)
            result.reused += len(answers)
            if answers:
                self.session.decide(level.step, level.step, "HIT", len(answers))
            if missing:
                self.session.decide(level.step, level.step, "MISS", len(missing))
                answers |= self._generate(level, missing)
            result.generated += len(missing)
            result.excluded += sum(a.finish_reason == "too_long" for a in answers.values())
        return answers

    def _generate(self, level: Level, missing: Sequence[Call]) -> dict[str, Answer]:
        name = level.step if level.round is None else f"{level.step}, round {level.round}"
        self.session.engine()  # a model that must be prepared shows its own bar first
        bar = progress.current()
        bar.start(name, len(missing), "rows")
        answers: dict[str, Answer] = {}
        first = 0
        while first < len(missing):
            part = missing[first : first + self._chunk_rows(level.step)]
            is_last = first + len(part) == len(missing)
            chunk = Chunk(self.session, part, first, len(missing), self._next_job(level, is_last))
            started = time.monotonic()
            complete_chunk(f"{name}: rows {first + 1} to {first + len(part)}", chunk)
            self._rates[level.step] = len(part) / (time.monotonic() - started)
            answers |= chunk.answers
            first += len(part)
        bar.finish(f"{len(missing)} generated")
        return answers

    def _chunk_rows(self, step: LevelStep) -> int:
        """The recipe's number of rows, or what the engine does in CHUNK_S where that is more."""
        return max(
            self.session.recipe.generation.chunk_rows, int(self._rates.get(step, 0.0) * CHUNK_S)
        )

    def _next_job(self, level: Level, is_last_chunk: bool) -> Step | None:
        """SFT, while the very last rows are generated in a run that goes on to train."""
        last_round = self.session.recipe.generation.rounds - 1
        is_last = level.step == "revisions" and level.round == last_round and is_last_chunk
        return "sft" if is_last and self.is_last_window and at_most("sft", self.until) else None


def _without(calls: Iterable[Call], answers: Container[str]) -> list[Call]:
    """The calls that have no answer, equal ones once."""
    return list({c.completion_id: c for c in calls if c.completion_id not in answers}.values())


class _OnlyKnown:
    """Answers from the ledger only; a call it cannot answer ends the step."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __call__(self, level: Level) -> dict[str, Answer]:
        answers = look_up(self.session.ledger, level.calls)
        missing = sum(call.completion_id not in answers for call in level.calls)
        if missing:
            raise SolonError(
                f"{missing} {level.step} are not generated yet: run `solon refresh` first"
            )
        self.session.result(level.step).reused += len(answers)
        return answers


def make_rows(session: Session, until: Step | None = None) -> Rows | None:
    """Draft, critique, revise and pair every prompt, a window of them at a time.

    The rows are in the ledger then; None where the run ends before there are pairs.
    """
    generator, prompts = Generator(session, until), session.inputs.prompts
    builder = _Builder(session) if at_most("pairs", until) else None
    seen = 0
    for window in windows(prompts):
        seen += len(window)
        generator.is_last_window = seen == len(prompts)
        record_prompts(session.ledger, window)
        walked = walk(session.inputs.method, window, generator)
        if builder:
            builder.add(walked)
    session.close_engine()
    if builder is None:
        return None
    rows = builder.finish()
    publish_samples(session, rows)
    return rows


def make_some(session: Session, method: Method, prompts: Sequence[Prompt]) -> None:
    """Draft, critique and revise these prompts only; no rows to train on come of it."""
    record_prompts(session.ledger, prompts)
    walk(method, prompts, Generator(session, "revisions"))


def existing_rows(session: Session, without: str | None = None) -> Rows:
    """The rows of this recipe, but for those in which the principle `without` had a hand.

    Raises SolonError where the ledger has not got them all.
    """
    builder, answer = _Builder(session, without), _OnlyKnown(session)
    for window in windows(session.inputs.prompts):
        builder.add(walk(session.inputs.method, window, answer))
    return builder.finish()


class _Builder:
    """Keeps the rows of one walk after another in the ledger, then the snapshots of them all."""

    def __init__(self, session: Session, without: str | None = None) -> None:
        self.session, self.result = session, session.result("pairs")
        self._assembler = session.inputs.assembler(without)

    def add(self, walked: Walk) -> None:
        session = self.session
        with timed(self.result):
            rows = self._assembler.add(walked)
            new = record_rows(session.ledger, session.run_id, walked.steps, rows)
            record_exclusions(session.ledger, session.run_id, rows.exclusions)
            distinct = {pair.pair_id for pair in rows.pairs.values()}
            self.result.generated += new
            self.result.reused += len(distinct) - new
            self.result.excluded += sum(found.step == "pairs" for found in rows.exclusions)

    def finish(self) -> Rows:
        session = self.session
        with timed(self.result):
            rows = self._assembler.rows()
            for snapshot in (rows.sft, rows.preferences, session.inputs.prompt_snapshot):
                record_snapshot(session.ledger, session.run_id, snapshot)
                session.point(f"{snapshot.kind}-rows", snapshot.dataset_id)
            self.result.id = rows.preferences.dataset_id
        return rows
