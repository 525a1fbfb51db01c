"""The data side: every prompt through drafts and rounds to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flows.plan.steps import Step, at_most
from flows.run.ask import Asker
from flows.run.publish import publish_samples
from flows.run.results import timed
from flows.run.session import Session
from storage.errors import SolonError
from tasks.generation.calls import Answer
from tasks.generation.memo import look_up
from tasks.generation.record import (
    record_exclusions,
    record_prompts,
    record_rows,
    record_snapshot,
)
from tasks.generation.snapshots import Rows
from tasks.generation.walk import Level, LevelStep, Method, Walk, walk, windows
from tasks.prompts import Prompt


class Generator:
    """Answers every call of a level."""

    def __init__(self, session: Session, until: Step | None) -> None:
        self.session, self.until = session, until
        self.is_last_window = True
        self._askers: dict[LevelStep, Asker] = {}

    def __call__(self, level: Level) -> dict[str, Answer]:
        if not at_most(level.step, self.until):
            return {}
        new = Asker(self.session, level.step, self.session.workers.generator)
        asker = self._askers.setdefault(level.step, new)
        name = level.step if level.round is None else f"{level.step}, round {level.round}"
        result = self.session.results.of(level.step)
        with timed(result):
            warm_up = partial(self.session.workers.warm_up, "sft")
            when_last = warm_up if self._is_last(level) else None
            answers = asker.ask(name, level.calls, when_last)
            result.excluded += sum(a.finish_reason == "too_long" for a in answers.values())
        return answers

    def _is_last(self, level: Level) -> bool:
        """Whether a run that goes on to train generates nothing after this level."""
        last_round = self.session.recipe.generation.rounds - 1
        is_last = level.step == "revisions" and level.round == last_round
        return is_last and self.is_last_window and at_most("sft", self.until)


def _known(session: Session, level: Level) -> dict[str, Answer]:
    """Answers from the ledger only; a call it cannot answer ends the step."""
    answers = look_up(session.ledger, level.calls)
    missing = sum(call.completion_id not in answers for call in level.calls)
    if missing:
        raise SolonError(f"{missing} {level.step} are not generated yet: run `solon refresh` first")
    session.results.of(level.step).reused += len(answers)
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
    session.workers.release()
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
    builder = _Builder(session, without)
    for window in windows(session.inputs.prompts):
        builder.add(walk(session.inputs.method, window, partial(_known, session)))
    return builder.finish()


class _Builder:
    """Keeps the rows of one walk after another in the ledger, then the snapshots of them all."""

    def __init__(self, session: Session, without: str | None = None) -> None:
        self.session, self.result = session, session.results.of("pairs")
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
                session.results.point(f"{snapshot.kind}-rows", snapshot.dataset_id)
            self.result.id = rows.preferences.dataset_id
        return rows
