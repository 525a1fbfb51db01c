"""The data side: every prompt through what its source asks for, to its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from flows.plan.answers import candidates_policy
from flows.plan.cases import cases_of
from flows.plan.needs import sft_need
from flows.plan.steps import Step, at_most
from flows.run.ask import Asker
from flows.run.judge_card import examine, judging_asker
from flows.run.policies import record_policies
from flows.run.publish import publish_samples
from flows.run.results import timed
from flows.run.session import Session
from storage.artifacts import artifact_path, is_whole
from storage.errors import SolonError
from tasks.engines.engine import Engine
from tasks.generation.assemble import Step as Revised
from tasks.generation.calls import Answer
from tasks.generation.demonstrated import learned
from tasks.generation.labels import Contest
from tasks.generation.memo import look_up
from tasks.generation.method import Method
from tasks.generation.record import record_exclusions, record_prompts
from tasks.generation.record_rows import record_rows, record_shown, record_snapshot, record_teaching
from tasks.generation.record_sets import record_set
from tasks.generation.sets import BroughtSet, SetRow
from tasks.generation.snapshots import Rows, WindowRows
from tasks.generation.walk import Answerer, Level, LevelStep, Walk, walk, windows
from tasks.judging import memo as judging
from tasks.judging.opinions import opinions
from tasks.prompts import Prompt


class Generator:
    """Answers every call of a level."""

    def __init__(
        self, session: Session, until: Step | None, engine: Callable[[str], Engine] | None = None
    ) -> None:
        """engine: that of a model, by its id."""
        self.session, self.until = session, until
        self.engine = engine or session.workers.generator
        self.is_last_window = True
        self._askers: dict[tuple[LevelStep, str], Asker] = {}

    def __call__(self, level: Level) -> dict[str, Answer]:
        if not at_most(level.step, self.until):
            return {}
        new = Asker(self.session, level.step, partial(self.engine, level.model_id))
        asker = self._askers.setdefault((level.step, level.model_id), new)
        result = self.session.results.of(level.step)
        with timed(result):
            warm_up = partial(self.session.workers.warm_up, "sft")
            when_last = warm_up if self._is_last(level) else None
            answers = asker.ask(_title(level), level.calls, when_last)
            result.excluded += sum(a.finish_reason == "too_long" for a in answers.values())
        return answers

    def _is_last(self, level: Level) -> bool:
        """Whether a run that goes on to train generates nothing after this level."""
        last_round = self.session.recipe.generation.rounds - 1
        is_last = level.step == "revisions" and level.round == last_round
        return is_last and self.is_last_window and at_most("sft", self.until)


def _title(level: Level) -> str:
    if level.whose:
        return f"{level.step}: {level.whose}"
    return level.step if level.round is None else f"{level.step}, round {level.round}"


class DataSide:
    """The rows of a run: walked a window of prompts at a time, kept in the ledger as they come.

    `without`: the slug of a principle; rows in which it had a hand are left out. `may_ask`: whether
    candidates may be made, and compared, that are not there.
    """

    def __init__(
        self,
        session: Session,
        until: Step | None = None,
        without: str | None = None,
        may_ask: bool = True,
    ) -> None:
        self.session, self.until, self.may_ask = session, until, may_ask
        self._is_whole, self._may_compare = without is None, True
        self._result = session.results.of("pairs")
        self._assembler = session.inputs.assembler(without)

    def make(self) -> Rows | None:
        """Have a model answer what is missing; None where the run ends before there are pairs."""
        generator, prompts = Generator(self.session, self.until), self.session.inputs.prompts
        seen = 0
        for window in windows(prompts):
            seen += len(window)
            generator.is_last_window = seen == len(prompts)
            self._walk(self.session.inputs.method, window, generator)
        if not at_most("pairs", self.until):
            self.session.workers.release()
            return None
        self._take_people()
        self.session.workers.release()
        rows = self._finish()
        examine(self.session, self._assembler, self.until)
        sft = sft_need(self.session.inputs, rows).id
        if self._assembler.later and is_whole(artifact_path(self.session.workspace, sft)):
            rows = self.add_candidates(sft)
        publish_samples(self.session, rows)
        return rows

    def known(self) -> Rows:
        """What is there. Raises SolonError where the ledger has not got every answer, and where the
        judge falls short of the recipe's floors. Pairs that a principle's check decided are judged
        where rows go without it.
        """
        self._may_compare = not self._is_whole
        for window in windows(self.session.inputs.prompts):
            self._walk(self.session.inputs.method, window, partial(_known, self.session))
        self._take_people()
        self._may_compare = self.may_ask
        rows = self._finish()
        if self.may_ask and self._is_whole:
            examine(self.session, self._assembler, self.until)
        return rows

    def add_candidates(self, sft: str) -> Rows:
        """The rows with those of the prompts whose candidates are the SFT checkpoint's answers."""
        session, later = self.session, self._assembler.later
        policy = candidates_policy(session.inputs, session.workspace, sft)
        record_policies(session, [policy])
        method = replace(session.inputs.method, candidates_of=policy.model_id)
        asked = Generator(session, None, lambda model_id: session.workers.evaluator([policy]))
        answer: Answerer = asked if self.may_ask else partial(_known, session)
        self._assembler.later = []
        for window in windows(later):
            self._walk(method, window, answer)
        session.workers.release()
        return self._finish()

    def _take_people(self) -> None:
        """What people brought, as rows beside the others."""
        session, people = self.session, self.session.inputs.people
        for judged in people.judged:
            record_prompts(session.ledger, [pair.prompt for pair in judged.pairs])
            walked = Walk(pools=judged.pools)
            made = self._keep(session.inputs.method, walked, judged.own.ratio)
            self._record_set(judged.own, judged.set_rows(made.pairs))
        for shown in people.demonstrated:
            record_prompts(session.ledger, [found.prompt for found in shown.demonstrations])
            found = learned(shown, self._assembler.chooser.shown)
            made = self._assembler.demonstrate(*found, shown.own.ratio)
            self._record(session.inputs.method, [], made)
            self._record_set(shown.own, shown.set_rows(made.examples))

    def _record_set(self, own: BroughtSet, of: Sequence[SetRow]) -> None:
        with self.session.ledger.transaction() as con:
            record_set(con, own, of, self.session.run_id)

    def _walk(self, method: Method, prompts: Sequence[Prompt], answer: Answerer) -> None:
        record_prompts(self.session.ledger, prompts, is_own=True)
        walked = walk(method, prompts, answer)
        if at_most("pairs", self.until):
            self._keep(method, walked)

    def _keep(self, method: Method, walked: Walk, ratio: float | None = None) -> WindowRows:
        judged = self._opinions(walked)
        with timed(self._result):
            rows = self._assembler.add(walked, judged, ratio)
            record_shown(self.session.ledger, method.shown_ids(walked.pools))
            self._record(method, walked.steps, rows)
        return rows

    def _record(self, method: Method, steps: Sequence[Revised], rows: WindowRows) -> None:
        session, result = self.session, self._result
        new = record_rows(session.ledger, session.run_id, steps, rows, method.named)
        record_exclusions(session.ledger, session.run_id, rows.exclusions)
        result.generated += new
        result.reused += len({pair.pair_id for pair in rows.pairs}) - new
        result.excluded += sum(found.step == "pairs" for found in rows.exclusions)

    def _opinions(self, walked: Walk) -> dict[str, Contest]:
        """What the judge says of the pools that no program decides, by their row ids."""
        session = self.session
        cases = cases_of(session.inputs, self._assembler, walked)
        if not cases:
            return {}
        asker = judging_asker(session)
        asked = [comparison for case in cases for comparison in case.comparisons]
        if not self._may_compare:
            there = judging.look_up(session.ledger, asked)
            _check_known("comparisons", sum(c.comparison_id not in there for c in asked))
        with timed(session.results.of("comparisons")):
            judged = asker.compare("comparisons", asked)
        return opinions(cases, judged)

    def _finish(self) -> Rows:
        """The snapshots of what was kept, and what the pairs teach, in the ledger."""
        session = self.session
        with timed(self._result):
            rows = self._assembler.rows()
            record_exclusions(session.ledger, session.run_id, rows.over)
            pairs = [] if rows.later else [rows.preferences]
            for snapshot in (rows.sft, *pairs, session.inputs.prompt_snapshot):
                record_snapshot(session.ledger, session.run_id, snapshot)
                session.results.point(f"{snapshot.kind}-rows", snapshot.dataset_id)
            if not rows.later:
                self._result.id = rows.preferences.dataset_id
                record_teaching(session.ledger, rows.preferences.dataset_id, rows.teaching)
        return rows


def _known(session: Session, level: Level) -> dict[str, Answer]:
    """Answers from the ledger only; a call it cannot answer ends the step."""
    answers = look_up(session.ledger, level.calls)
    _check_known(level.step, sum(call.completion_id not in answers for call in level.calls))
    session.results.of(level.step).reused += len(answers)
    return answers


def _check_known(step: Step, missing: int) -> None:
    if missing:
        raise SolonError(f"{missing} {step} are not made yet: run `solon refresh` first")


def make_some(session: Session, method: Method, prompts: Sequence[Prompt]) -> None:
    """Draft, critique and revise these prompts only; no rows to train on come of it."""
    record_prompts(session.ledger, prompts, is_own=True)
    walk(method, prompts, Generator(session, "revisions"))
