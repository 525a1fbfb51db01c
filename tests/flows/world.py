"""A ledger filled without models, and the inputs in force: for tests of plans, previews, edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from constitution.assign import assign
from constitution.schema import Constitution
from flows.plan.cases import cases_of, gold_of
from flows.plan.constitutions import kept_as
from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from flows.plan.planner import Planner
from flows.plan.read_inputs import read_inputs
from flows.plan.recipe import load
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.engines.engine import Batch, Continuation, Engine, Score
from tasks.engines.scripted import ScriptedEngine
from tasks.generation.calls import Answer, category_of
from tasks.generation.demonstrated import learned
from tasks.generation.memo import complete, look_up
from tasks.generation.record import record_constitution, record_exclusions, record_prompts
from tasks.generation.record_rows import record_rows, record_shown, record_snapshot, record_teaching
from tasks.generation.record_sets import record_set
from tasks.generation.sets import BroughtSet, SetRow
from tasks.generation.snapshots import Assembler, Rows
from tasks.generation.walk import WINDOW, Level, Walk, walk, windows
from tasks.judging import memo as judging
from tasks.judging.comparisons import Comparison, Judged
from tasks.judging.opinions import opinions

SETTINGS: dict[str, Any] = {"generation.engine": "scripted", "prompts.limit": 60}
# Every source of pairs, programs and a judge: what a recipe is given by overrides.
EVERY_SOURCE: dict[str, Any] = {
    "pairs.shares.distilled": 1,
    "pairs.shares.candidates": 1,
    "pairs.candidates_of": "model",
    "pairs.evidence": "required",
    "judge.use": True,
    "judge.n_principles": 2,
}


class Judging(ScriptedEngine):
    """A judge that prefers the shorter response, wherever it stands."""

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        for index, asked in enumerate(continuations):
            shown = str(asked.messages[-1]["content"])
            first = shown.partition("Response A:\n")[2].partition("\n\nResponse B:")[0]
            second = shown.partition("Response B:\n")[2].partition("\n\nQuestion:")[0]
            own, other = (first, second) if asked.text == "A" else (second, first)
            value = 0.1 * (len(other.split()) - len(own.split()))
            yield Batch([Score(index, value, [value])], 0.0)


SCRIPTED = ScriptedEngine()
JUDGE = Judging()


class World:
    """One ledger and the inputs now in force.

    `asked`, `card`: what the last run asked the judge about pairs and for its report card, reused
    or not.
    """

    rows: Rows  # of the last run
    run_id = "run_test"  # that rows are recorded under

    def __init__(self, home: Path, **overrides: Any) -> None:
        self.workspace = Workspace(home).create()
        self.ledger = Ledger(self.workspace.ledger)
        self.overrides = SETTINGS | overrides
        self.inputs = self.read()
        self.asked: dict[str, Comparison] = {}
        self.card: dict[str, Comparison] = {}

    def read(self, **overrides: Any) -> Inputs:
        recipe = load("smoke", self.overrides | overrides)
        return read_inputs(recipe, self.workspace, self.ledger)

    def edit(self, change: Any) -> Inputs:
        """The same inputs with an edited constitution."""
        constitution = change(self.inputs.constitution)
        known = kept_as(self.ledger, constitution)
        return replace(self.inputs, constitution=constitution, kept_as=known)

    def plan(self, inputs: Inputs) -> Plan:
        return Planner(inputs, self.workspace, self.ledger).make("pairs")

    def run(self, inputs: Inputs, size: int = WINDOW, engine: Engine = SCRIPTED) -> Counter[str]:
        """Generate, compare and record; how many calls of each step and round were made."""
        made: Counter[str] = Counter()

        def answer(level: Level) -> dict[str, Answer]:
            found = look_up(self.ledger, level.calls)
            missing = [call for call in level.calls if call.completion_id not in found]
            fresh = complete(self.ledger, engine, self.run_id, missing)
            made[f"{level.step}{'' if level.round is None else level.round}"] += len(fresh)
            return found | fresh

        def compare(asked: dict[str, Comparison]) -> dict[str, Judged]:
            found = judging.look_up(self.ledger, list(asked.values()))
            missing = [c for comparison_id, c in asked.items() if comparison_id not in found]
            if missing:
                made["comparisons"] += len(missing)
            return found | judging.complete(self.ledger, engine, self.run_id, missing)

        record_constitution(self.ledger, inputs.constitution, "test")
        assembler, self.asked = inputs.assembler(), {}
        for window in windows(inputs.prompts, size):
            record_prompts(self.ledger, window, is_own=True)
            walked = walk(inputs.method, window, answer)
            cases = cases_of(inputs, assembler, walked)
            asked = {c.comparison_id: c for case in cases for c in case.comparisons}
            self.asked |= asked
            made_of = assembler.add(walked, opinions(cases, compare(asked)))
            named = inputs.method.named
            record_shown(self.ledger, inputs.method.shown_ids(walked.pools))
            record_rows(self.ledger, self.run_id, walked.steps, made_of, named)
            record_exclusions(self.ledger, self.run_id, made_of.exclusions)
        self._take_people(inputs, assembler)
        gold = gold_of(inputs, assembler)
        self.card = {c.comparison_id: c for own in gold for c in own.questions}
        compare(self.card)
        self.rows = assembler.rows()
        for snapshot in (self.rows.sft, self.rows.preferences):
            record_snapshot(self.ledger, self.run_id, snapshot)
        record_teaching(self.ledger, self.rows.preferences.dataset_id, self.rows.teaching)
        return made

    def _take_people(self, inputs: Inputs, assembler: Assembler) -> None:
        for judged in inputs.people.judged:
            record_prompts(self.ledger, [pair.prompt for pair in judged.pairs])
            made = assembler.add(Walk(pools=judged.pools), ratio=judged.own.ratio)
            record_rows(self.ledger, self.run_id, [], made, inputs.method.named)
            self._record_set(judged.own, judged.set_rows(made.pairs))
        for shown in inputs.people.demonstrated:
            record_prompts(self.ledger, [found.prompt for found in shown.demonstrations])
            found = learned(shown, assembler.chooser.shown)
            made = assembler.demonstrate(*found, shown.own.ratio)
            record_rows(self.ledger, self.run_id, [], made, inputs.method.named)
            self._record_set(shown.own, shown.set_rows(made.examples))

    def _record_set(self, own: BroughtSet, of: Sequence[SetRow]) -> None:
        with self.ledger.transaction() as con:
            record_set(con, own, of, self.run_id)


def reworded(slug: str, field: str) -> Any:
    def change(constitution: Constitution) -> Constitution:
        principles = tuple(
            replace(p, **{field: getattr(p, field) + " Again."}) if p.slug == slug else p
            for p in constitution.principles
        )
        return replace(constitution, principles=principles)

    return change


def prompts_of(world: World, slug: str, round: int = 0) -> int:
    constitution = world.inputs.constitution
    return sum(
        assign(constitution, p.prompt_id, round, category_of(p)).slug == slug
        for p in world.inputs.prompts
    )


def most_used(world: World) -> str:
    slugs = [p.slug for p in world.inputs.constitution.principles]
    return max(slugs, key=lambda slug: prompts_of(world, slug))
