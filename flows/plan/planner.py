"""The plan: what a run would reuse, generate and train, and what it would cost. Writes nothing.

Exact for every row whose inputs are known. Behind a row that must be generated the inputs are not
known: those are counted as [min, max], where min assumes that every output comes back equal to one
the ledger has, and max that none does. Neither foresees that a request turns out longer than
`max_prompt_tokens`: such a prompt drops out, and the run makes fewer calls than the plan says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.plan.answers import (
    REWARD,
    answer_calls,
    answer_count,
    candidates_policy,
    policies_of,
    unanswered,
)
from flows.plan.causes import causes
from flows.plan.cost import cost_of
from flows.plan.history import History
from flows.plan.inputs import Inputs, check_held_out, inputs_of
from flows.plan.needs import Need, evaluation_need, ids, sft_need, stage_needs
from flows.plan.plan import Plan, Range, StepPlan
from flows.plan.steps import STAGES, Step, at_most
from storage.artifacts import artifact_path, is_whole
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.generation.calls import Answer
from tasks.generation.memo import look_up
from tasks.generation.method import Method
from tasks.generation.snapshots import Assembler, Rows
from tasks.generation.walk import Level, Walk, walk, windows
from tasks.model_files import Digests
from tasks.prompts import Prompt
from tasks.training.keys import changes

CAUSE = ("step", "component", "was", "is", "root")


def _sum(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


class Planner:
    """Walks the method with the ledger's answers only."""

    def __init__(self, inputs: Inputs, workspace: Workspace, ledger: Ledger) -> None:
        self.inputs, self.workspace, self.ledger = inputs, workspace, ledger
        self.plan = Plan()
        self.history = History(ledger)
        self.until: Step | None = None
        self.roots: dict[str, str] = {}
        self.slugs = {found: slug for slug, found in inputs.method.principle_ids.items()}
        self._causes: Counter[tuple[str, ...]] = Counter()

    def make(self, until: Step | None = None) -> Plan:
        self.until = until
        for step in self.inputs.data_steps:
            if at_most(step, until):
                self.plan.steps[step] = StepPlan(step)
        rows = self._data()
        self.plan.why = [
            dict(zip(CAUSE, cause, strict=True)) | {"rows": count}
            for cause, count in self._causes.items()
        ]
        if at_most("sft", until):
            self._training(rows)
        self.plan.cost = cost_of(self.plan.steps, self.inputs, self.history)
        return self.plan

    def _data(self) -> Rows | None:
        """Plan the data side; the rows it would give, or None where some are not yet known."""
        assembler = self.inputs.assembler()
        is_known = self._walk(self.inputs.method, self.inputs.prompts, assembler)
        if "pairs" not in self.plan.steps:
            return None
        if assembler.later:
            is_known = self._candidates(assembler, is_known)
        if not is_known:
            return None
        rows = assembler.rows()
        snapshots = {rows.sft.dataset_id}
        if not rows.later:
            snapshots.add(rows.preferences.dataset_id)
            self.plan.steps["pairs"].id = rows.preferences.dataset_id
        known = self.history.known("datasets", "dataset_id", snapshots)
        self.plan.to_record += len(snapshots) - known
        self.plan.left_out, self.plan.teaching = rows.left_out, rows.teaching
        self.plan.sft_rows_id = rows.sft.dataset_id
        return rows

    def _walk(self, method: Method, prompts: Sequence[Prompt], assembler: Assembler) -> bool:
        """Plan the rows of these prompts; whether all of them are known."""
        is_known = True
        for window in windows(prompts):
            walked = walk(method, window, self._answer)
            is_known = is_known and not walked.waiting
            if "pairs" in self.plan.steps:
                self._pairs(walked, assembler)
        return is_known

    def _candidates(self, assembler: Assembler, is_known: bool) -> bool:
        """Plan the prompts whose candidates are SFT's: exact where that checkpoint is there, else
        none or all of them. Returns whether all rows are known.
        """
        later = assembler.later
        sft = sft_need(self.inputs, assembler.rows()).id if is_known else ""
        if is_known and is_whole(artifact_path(self.workspace, sft)):
            assembler.later = []
            policy = candidates_policy(self.inputs, self.workspace, sft)
            method = replace(self.inputs.method, candidates_of=policy.model_id)
            return self._walk(method, later, assembler)
        if at_most("reward", self.until):
            samples, pairs = self.plan.steps["samples"], self.plan.steps["pairs"]
            most = len(later) * self.inputs.method.samples
            samples.to_generate = _sum(samples.to_generate, (0, most))
            pairs.to_generate = _sum(pairs.to_generate, (0, len(later)))
        return is_known

    def _pairs(self, walked: Walk, assembler: Assembler) -> None:
        """Plan the pairs of one window: those of prompts that wait are not yet known."""
        rows = assembler.add(walked)
        distinct = {pair.pair_id for pair in rows.pairs}
        known = self.history.known("pairs", "pair_id", distinct)
        new = len(distinct) - known
        step = self.plan.steps["pairs"]
        step.reused += known
        step.to_generate = _sum(step.to_generate, (new, new + len(walked.waiting)))
        step.excluded += sum(found.step == "pairs" for found in rows.exclusions)
        steps = {step.revision_id for step in walked.steps}
        self.plan.to_record += len(steps) - self.history.known("revisions", "revision_id", steps)

    def _answer(self, level: Level) -> dict[str, Answer]:
        """Answer what the ledger can; count the rest."""
        beyond = level.round and not at_most("revisions", self.until)
        if level.step not in self.plan.steps or beyond:
            return {}  # the run ends before it
        found = look_up(self.ledger, level.calls)
        missing = unanswered(level.calls, found)
        certain = self.history.certainly_new(level, self.inputs.method)
        more: Range = (len(missing) + certain, len(missing) + len(level.waiting))
        step = self.plan.steps[level.step]
        step.reused += len(found)
        step.excluded += sum(answer.finish_reason == "too_long" for answer in found.values())
        step.to_generate = _sum(step.to_generate, more)
        if level.round is not None:
            if level.round == len(step.rounds):
                step.rounds.append({"round": level.round, "reused": 0, "to_generate": [0, 0]})
            of_round = step.rounds[level.round]
            of_round["reused"] += len(found)
            of_round["to_generate"] = list(_sum(of_round["to_generate"], more))
        found_causes = causes(self.ledger, missing, self.slugs, self.roots)
        self._causes.update(dict(found_causes.most_common()))
        return found

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
                self._falls(step)
        if at_most("evaluate", self.until):
            self._evaluation(ids(needs) if len(needs) == len(STAGES) else {})

    def _unknown(self, step: StepPlan) -> None:
        """Plan an artifact of which it is not known what it will be made from."""
        step.to_train = (0 if self.history.latest_components(step.step) else 1, 1)

    def _falls(self, step: StepPlan) -> None:
        """Note the checkpoint in use that this step's would replace."""
        latest = self.history.latest(step.step)
        if latest and step.to_train[1] and step.id != latest:
            is_certain = step.id is not None
            self.plan.falls.append({"stage": step.step, "id": latest, "certain": is_certain})

    def _artifact(self, step: StepPlan, need: Need) -> bool:
        """Plan a checkpoint or an evaluation by its key; whether it is there."""
        step.id = need.id
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
        """Where a change of a stage's key began: of data with the words of a principle, as far as
        the ledger tells; of a parent with the parent's own first change.
        """
        kind, _, stage = component.partition(".")
        if kind == "dataset":
            reworded = self.history.reworded_since(str(was), self.inputs.constitution.principles)
            return ", ".join(f"principle:{slug}" for slug in reworded) or component
        if kind == "parents":
            roots = (cause["root"] for cause in self.plan.why if cause["step"] == stage)
            return str(next(roots, component))
        return component

    def _evaluation(self, checkpoints: dict[str, str]) -> None:
        step = self.plan.steps["evaluate"] = StepPlan("evaluate")
        if not checkpoints:
            self._unknown(step)
        elif self._artifact(step, evaluation_need(self.inputs, checkpoints)):
            report = self.workspace.reports / str(step.id) / "report.md"
            is_measured = self.history.known("metrics", "subject_id", [str(step.id)])
            self.plan.to_record += not (is_measured and report.is_file())
            step.reused = answer_count(self.inputs)
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
        calls = [call for policy in policies.values() for call in answer_calls(self.inputs, policy)]
        step.reused = len(look_up(self.ledger, calls))
        step.to_generate = len(calls) - step.reused, answer_count(self.inputs) - step.reused


def make_plan(recipe: str, overrides: dict[str, Any], until: Step | None) -> tuple[Plan, Inputs]:
    """The plan of a run of this recipe, and what it would read."""
    inputs, workspace, ledger = inputs_of(recipe, overrides)
    check_held_out(inputs, until)
    return Planner(inputs, workspace, ledger).make(until), inputs
