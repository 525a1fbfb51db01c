"""The data side as Prefect tasks, a chunk of rows each; what the ledger has is not asked again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import progress
from flows.recipe import Step, at_most
from flows.session import Session, timed
from flows.slot import device_slot
from storage.errors import SolonError
from storage.ledger import point
from tasks.generation.calls import Answer, Call
from tasks.generation.memo import complete, look_up
from tasks.generation.record import record_exclusions, record_rows, record_snapshot
from tasks.generation.snapshots import Rows, assemble
from tasks.generation.walk import Level, Walk, walk


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
    with device_slot(session):
        chunk.answers = look_up(session.ledger, chunk.calls)  # another run may have been here
        rest = [call for call in chunk.calls if call.completion_id not in chunk.answers]
        if rest:
            made = complete(session.ledger, session.engine(), session.run_id, rest, on_progress)
            chunk.answers |= made | look_up(session.ledger, rest)  # the first committed text counts
    return {
        "rows": len(chunk.answers),
        "tokens": sum(a.completion_tokens for a in chunk.answers.values()),
    }


class Generator:
    """Answers every call of a level: what the ledger has, then the rest, chunk by chunk."""

    def __init__(self, session: Session, until: Step | None) -> None:
        self.session, self.until = session, until

    def __call__(self, level: Level) -> dict[str, Answer]:
        if not at_most(level.step, self.until):
            return {}
        result = self.session.result(level.step)
        with timed(result):
            answers = look_up(self.session.ledger, level.calls)
            missing = list(
                {c.completion_id: c for c in level.calls if c.completion_id not in answers}.values()
            )
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
        size = self.session.recipe.generation.chunk_rows
        for first in range(0, len(missing), size):
            part = missing[first : first + size]
            is_last = first + size >= len(missing)
            chunk = Chunk(self.session, part, first, len(missing), self._next_job(level, is_last))
            complete_chunk(f"{name}: rows {first + 1} to {first + len(part)}", chunk)
            answers |= chunk.answers
        bar.finish(f"{len(missing)} generated")
        return answers

    def _next_job(self, level: Level, is_last_chunk: bool) -> Step | None:
        """SFT, while the very last rows are generated in a run that goes on to train."""
        last_round = self.session.recipe.generation.rounds - 1
        is_last = level.step == "revisions" and level.round == last_round and is_last_chunk
        return "sft" if is_last and at_most("sft", self.until) else None


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


def generate(session: Session, until: Step | None = None) -> Walk:
    """Drafts, critiques and revisions of every prompt, as far as the run is to go."""
    walked = walk(session.inputs.method, session.inputs.prompts, Generator(session, until))
    session.close_engine()
    return walked


def existing_rows(session: Session) -> Rows:
    """The rows of this recipe. Raises SolonError where the ledger has not got them all."""
    known = walk(session.inputs.method, session.inputs.prompts, _OnlyKnown(session))
    return build_rows(session, known)


def build_rows(session: Session, walked: Walk) -> Rows:
    """Pairs, SFT examples and snapshots of a walk, kept in the ledger with what was left out."""
    recipe, result = session.recipe, session.result("pairs")
    with timed(result):
        rows = assemble(
            walked,
            session.inputs.constitution,
            recipe.prompts.held_out_percent,
            recipe.snapshots.sft_rounds == "last",
        )
        before = _known_pairs(session, rows)
        record_rows(session.ledger, session.run_id, walked.steps, rows.examples, rows.pairs)
        record_exclusions(session.ledger, session.run_id, rows.exclusions)
        for snapshot in (rows.sft, rows.preferences, session.inputs.prompt_snapshot):
            record_snapshot(session.ledger, session.run_id, snapshot)
            point(session.ledger, f"latest/{snapshot.kind}-rows", snapshot.dataset_id)
        distinct = {pair.pair_id for pair in rows.pairs.values()}
        result.reused, result.generated = len(distinct & before), len(distinct - before)
        result.excluded = len(rows.exclusions)
        result.id = rows.preferences.dataset_id
    return rows


def _known_pairs(session: Session, rows: Rows) -> set[str]:
    wanted = [pair.pair_id for pair in rows.pairs.values()]
    found = session.ledger.query(
        "SELECT pair_id FROM pairs WHERE pair_id IN (SELECT unnest(?::VARCHAR[]))", [wanted]
    )
    return {row["pair_id"] for row in found}
