"""The plan: what a run would reuse, generate and train, and what it would cost. Writes nothing.

Exact for every row whose inputs are known. Behind a row that must be generated the inputs are not
known: those are counted as [min, max], where min assumes that every output comes back equal to one
the ledger has, and max that none does. Neither foresees that a request turns out longer than
`max_prompt_tokens`: such a prompt drops out, and the run makes fewer calls than the plan says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flows.plan.answers import (
    POLICIES,
    REWARD,
    answer_calls,
    answer_count,
    policies_of,
    unanswered,
)
from flows.plan.cost import cost_of
from flows.plan.data_plan import DataPlanner, compared
from flows.plan.duels import duels_of, most_duels
from flows.plan.history import History
from flows.plan.input_checks import check_inputs
from flows.plan.inputs import Inputs
from flows.plan.measured import Measured
from flows.plan.model_checks import check_models
from flows.plan.needs import Need, evaluation_now, ids, stage_needs
from flows.plan.plan import Plan, StepPlan
from flows.plan.read_inputs import inputs_of
from flows.plan.said import VERDICT
from flows.plan.sizes import too_few
from flows.plan.steps import STAGES, Step, at_most
from flows.plan.tempo import Tempo
from flows.plan.training import TrainingPlanner
from storage.artifacts import artifact_path, is_whole
from storage.ledger import Ledger
from storage.report_files import whole_page
from storage.workspace import Workspace
from tasks.evaluation.answers import Answered
from tasks.evaluation.rows import BASE
from tasks.generation.memo import look_up
from tasks.generation.snapshots import Rows
from tasks.model_files import Digests
from tasks.training.keys import changes


class Planner:
    """Plans what is trained from the rows that the data side would give."""

    def __init__(self, inputs: Inputs, workspace: Workspace, ledger: Ledger) -> None:
        self.inputs, self.workspace, self.ledger = inputs, workspace, ledger
        self.plan = Plan(notes=inputs.notes)
        self.history, self.tempo = History(ledger), Tempo(inputs, Measured(ledger))
        self.trainings = TrainingPlanner(inputs, self.tempo)
        self.until: Step | None = None

    def make(self, until: Step | None = None) -> Plan:
        self.until = until
        rows = DataPlanner(self.inputs, self.workspace, self.ledger, self.plan, until).make()
        if at_most("sft", until):
            self._training(rows)
        _, *others = self.inputs.asked
        self.plan.models = {hand.model_id: hand.reference for hand in others}
        self.plan.cost = cost_of(self.plan.steps, self.inputs, self.tempo)
        return self.plan

    def _training(self, rows: Rows | None) -> None:
        """Plan the stages: exact where the snapshots are known, else [0 or 1, 1]."""
        needs = stage_needs(self.inputs, rows, self.until) if rows else {}
        for stage in STAGES:
            if at_most(stage, self.until):
                step = self.plan.steps[stage] = StepPlan(stage)
                if stage in needs:
                    self._artifact(step, needs[stage])
                else:
                    self._unknown(step)
                step.training = self.trainings.of(stage, needs.get(stage))
                self._falls(step)
        if at_most("evaluate", self.until):
            self._evaluation(ids(needs) if len(needs) == len(STAGES) else {})

    def _unknown(self, step: StepPlan) -> None:
        """Plan an artifact of which it is not known what it will be made from."""
        may_be_there = self.history.may_serve(step.step, self.inputs.base_model_id)
        step.to_train = (0 if may_be_there else 1, 1)

    def _falls(self, step: StepPlan) -> None:
        """Note the checkpoint in use that this step's would replace."""
        latest = self.history.latest(step.step)
        if latest and step.to_train[1] and step.id != latest:
            is_certain = step.id is not None
            self.plan.falls.append({"stage": step.step, "id": latest, "certain": is_certain})

    def _artifact(self, step: StepPlan, need: Need) -> bool:
        """Plan a checkpoint or an evaluation by its key; whether it is there."""
        step.id = need.id
        if need.step in STAGES:
            step.note = too_few(len(need.snapshot.training))
        is_known = self.history.has(need.id)
        if is_whole(artifact_path(self.workspace, need.id)):
            step.reused = 1
            self.plan.to_record += not is_known
            return True
        step.to_train = (1, 1)
        before = self.history.latest_components(step.step)
        if is_known:
            self._add_why(step.step, "artifact", need.id, "missing or damaged")
        elif before is None:
            self._add_why(step.step, "checkpoint", "(none)", "new")
        else:
            for name, was, now in changes(before, need.parts):
                self._add_why(step.step, name, was, now)
        return False

    def _add_why(self, step: str, component: str, was: object, now: object) -> None:
        cause = {"step": step, "component": component, "was": was, "is": now, "rows": 1}
        self.plan.why.append(cause | {"root": self._root(component, was)})

    def _root(self, component: str, was: object) -> str:
        """Where a change of a stage's key began: of data with the words of a principle, who was
        asked, what people brought or what reviewers said, as far as the ledger tells; of a parent
        with the parent's own first change.
        """
        kind, _, stage = component.partition(".")
        if kind == "dataset":
            reworded = self.history.reworded_since(str(was), self.inputs.constitution.principles)
            named = self.inputs.recipe.models.model_dump(mode="json")
            others = self.history.renamed_since(str(was), named)
            words = [f"principle:{slug}" for slug in reworded]
            said = {cause["component"] for cause in self.plan.why} & {VERDICT}
            sets = self.history.brought_since(str(was), self.inputs.recipe.pairs)
            hands = (f"models.{role}" for role in others)
            return ", ".join([*words, *hands, *sets, *said]) or component
        if kind == "parents":
            roots = (cause["root"] for cause in self.plan.why if cause["step"] == stage)
            return str(next(roots, component))
        return component

    def _evaluation(self, checkpoints: dict[str, str]) -> None:
        step = self.plan.steps["evaluate"] = StepPlan("evaluate")
        is_known = bool(checkpoints)
        need = evaluation_now(self.inputs, self.workspace, self.ledger, checkpoints)
        checkpoints = dict(need.parents)
        if not is_known:
            self._unknown(step)
        elif self._artifact(step, need):
            page = whole_page(self.workspace.reports / str(step.id))
            is_measured = self.history.known("metrics", "subject_id", [str(step.id)])
            self.plan.to_record += not (is_measured and page)
            step.reused = answer_count(self.inputs, checkpoints)
            return
        self._answers(step, checkpoints)

    def _answers(self, step: StepPlan, checkpoints: dict[str, str]) -> None:
        """Plan what is asked: exact of the base and of checkpoints that are there; of others none
        where nothing changes, else every answer.
        """
        there = {
            stage: found
            for stage, found in checkpoints.items()
            if stage != REWARD and is_whole(artifact_path(self.workspace, found))
        }
        policies = policies_of(self.inputs, self.workspace, there, Digests(self.workspace))
        asked = [(p, *each) for p in policies.values() for each in answer_calls(self.inputs, p)]
        calls = [call for *_, call in asked]
        found = look_up(self.ledger, calls)
        step.reused = sum(call.completion_id in found for call in calls)
        missing = len(unanswered(calls, found))
        unknown = answer_count(self.inputs, checkpoints) - len(calls)
        step.to_generate = missing, missing + unknown
        self._duels(
            [
                Answered(policy, question, call, found[call.completion_id])
                for policy, question, call in asked
                if call.completion_id in found
            ],
            {BASE, *POLICIES, *checkpoints} - {REWARD},
        )

    def _duels(self, answered: Sequence[Answered], policies: Collection[str]) -> None:
        """Plan what the judge is asked about the answers: exact of those that are there."""
        step = self.plan.steps.get("comparisons")
        if step is None:
            return
        duels = duels_of(self.inputs, answered)
        asked = [comparison for duel in duels for comparison in duel.comparisons]
        known = sum(len(duel.questions) for duel in duels)
        judge_id = self.inputs.hands.of("judge").model_id
        compared(self.ledger, step, judge_id, asked, most_duels(self.inputs, policies) - known)


def make_plan(recipe: str, overrides: dict[str, Any], until: Step | None) -> tuple[Plan, Inputs]:
    """The plan of a run of this recipe, and what it would read."""
    inputs, workspace, ledger = inputs_of(recipe, overrides)
    check_inputs(inputs, until)
    check_models(inputs, until)
    return Planner(inputs, workspace, ledger).make(until), inputs
