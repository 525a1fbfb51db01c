"""The plan of the data side: what of it the ledger has, and what it would have to ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from flows.plan.answers import candidates_policy, unanswered
from flows.plan.cases import cases_of, gold_of, most_comparisons, most_gold
from flows.plan.causes import causes, judge_causes
from flows.plan.history import History
from flows.plan.inputs import Inputs
from flows.plan.needs import sft_need
from flows.plan.plan import Plan, Range, StepPlan, added
from flows.plan.said import unrecorded
from flows.plan.steps import Step, at_most
from storage.artifacts import artifact_path, is_whole
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.generation import record_sets
from tasks.generation.calls import Answer
from tasks.generation.demonstrated import learned
from tasks.generation.labels import Contest
from tasks.generation.memo import look_up
from tasks.generation.method import Method
from tasks.generation.snapshots import Rows
from tasks.generation.walk import Level, Walk, walk, windows
from tasks.judging import memo as judging
from tasks.judging.comparisons import Comparison, Judged
from tasks.judging.opinions import opinions
from tasks.prompts import Prompt

CAUSE = ("step", "component", "was", "is", "root")


class DataPlanner:
    """Walks the method with the ledger's answers only, and notes in `plan` what is missing."""

    def __init__(
        self, inputs: Inputs, workspace: Workspace, ledger: Ledger, plan: Plan, until: Step | None
    ) -> None:
        self.inputs, self.workspace, self.ledger = inputs, workspace, ledger
        self.plan, self.until = plan, until
        self.history, self.assembler = History(ledger), inputs.assembler()
        self.roots: dict[str, str] = {}
        self.slugs = {found: slug for slug, found in inputs.method.principle_ids.items()}
        self._causes: Counter[tuple[str, ...]] = Counter()
        self.on_walked: Callable[[Walk], object] = lambda walked: None  # its pools are known
        self._is_answered = True  # whether only the judge is still to be asked

    def make(self) -> Rows | None:
        """Plan it; the rows it would give, or None where some are not yet known."""
        for step in self.inputs.data_steps:
            if at_most(step, self.until):
                self.plan.steps[step] = StepPlan(step)
        is_known = self._walk(self.inputs.method, self.inputs.prompts)
        if "pairs" in self.plan.steps:
            self._people()
        self._card()
        if "pairs" in self.plan.steps and self.assembler.later:
            is_known = self._candidates(is_known)
        self.plan.why = [
            dict(zip(CAUSE, cause, strict=True)) | {"rows": count}
            for cause, count in self._causes.items()
        ]
        return self._rows() if is_known and "pairs" in self.plan.steps else None

    def _people(self) -> None:
        """Plan the rows of what people brought."""
        people = self.inputs.people
        for judged in people.judged:
            self._pairs(Walk(pools=judged.pools), judged.own.ratio)
        for shown in people.demonstrated:
            made = learned(shown, self.assembler.chooser.shown)
            self.assembler.demonstrate(*made, shown.own.ratio)
        self.plan.to_record += len(record_sets.unrecorded(self.ledger, people.sets))

    def _rows(self) -> Rows:
        rows = self.assembler.rows()
        snapshots = {rows.sft.dataset_id}
        if not rows.later:
            snapshots.add(rows.preferences.dataset_id)
            self.plan.steps["pairs"].id = rows.preferences.dataset_id
        known = self.history.known("datasets", "dataset_id", snapshots)
        self.plan.to_record += len(snapshots) - known
        self.plan.left_out, self.plan.teaching = rows.left_out, rows.teaching
        self.plan.sft_rows_id = rows.sft.dataset_id
        return rows

    def _walk(self, method: Method, prompts: Sequence[Prompt]) -> bool:
        """Plan the rows of these prompts; whether all of them are known."""
        is_known = True
        for window in windows(prompts):
            walked = walk(method, window, self._answer)
            self._is_answered = self._is_answered and not walked.waiting
            if "pairs" in self.plan.steps:
                self._pairs(walked)
            is_known = is_known and not walked.waiting
        return is_known

    def _candidates(self, is_known: bool) -> bool:
        """Plan the prompts whose candidates are SFT's: exact where that checkpoint is there, else
        none or all of them. Returns whether all rows are known.
        """
        later = self.assembler.later
        sft = sft_need(self.inputs, self.assembler.rows()).id if is_known else ""
        if is_known and is_whole(artifact_path(self.workspace, sft)):
            self.assembler.later = []
            policy = candidates_policy(self.inputs, self.workspace, sft)
            return self._walk(replace(self.inputs.method, candidates_of=policy.model_id), later)
        if at_most("reward", self.until) or not is_known:
            each = most_comparisons(self.inputs, "candidates")
            most = {"samples": self.inputs.method.samples, "comparisons": each, "pairs": 1}
            asked = {"samples": "", "comparisons": self._judge_id}
            for name, count in most.items():
                if step := self.plan.steps.get(name):
                    step.ask(asked.get(name, ""), (0, count * len(later)))
        return is_known

    def _pairs(self, walked: Walk, ratio: float | None = None) -> None:
        """Plan the pairs of one window: those of prompts that wait are not yet known."""
        judged = self._judge(walked)
        self.on_walked(walked)
        rows = self.assembler.add(walked, judged, ratio)
        said = unrecorded(self.ledger, rows, self.inputs.reviews)
        self.plan.to_record += said.total()
        self._causes.update(said)
        distinct = {pair.pair_id for pair in rows.pairs}
        known = self.history.known("pairs", "pair_id", distinct)
        new = len(distinct) - known
        step = self.plan.steps["pairs"]
        step.reused += known
        step.to_generate = added(step.to_generate, (new, new + len(walked.waiting)))
        step.excluded += sum(found.step == "pairs" for found in rows.exclusions)
        steps = {step.revision_id for step in walked.steps}
        self.plan.to_record += len(steps) - self.history.known("revisions", "revision_id", steps)

    def _judge(self, walked: Walk) -> dict[str, Contest]:
        """What the judge is known to say; pools it has not judged yet wait from here on."""
        step = self.plan.steps.get("comparisons")
        if step is None:
            return {}
        cases = cases_of(self.inputs, self.assembler, walked)
        method, waiting = self.inputs.method, walked.waiting.values()
        beyond = sum(most_comparisons(self.inputs, method.source(prompt)) for prompt in waiting)
        asked = [c for case in cases for c in case.comparisons]
        known = self._compared(step, asked, beyond)
        told = [case for case in cases if all(c.comparison_id in known for c in case.comparisons)]
        open_ids = {case.decision.pool.row_id for case in cases}
        open_ids -= {case.decision.pool.row_id for case in told}
        for pool in walked.pools:
            if pool.row_id in open_ids:
                walked.waiting[pool.prompt.prompt_id] = pool.prompt
        walked.pools = [pool for pool in walked.pools if pool.row_id not in open_ids]
        return opinions(told, known)

    def _card(self) -> None:
        """Plan what the judge is asked for its report card: exact where all answers are known, as
        programs decide what it is about.
        """
        step = self.plan.steps.get("comparisons")
        if step is None:
            return
        if not self._is_answered:
            step.ask(self._judge_id, (0, most_gold(self.inputs)))
            return
        gold = gold_of(self.inputs, self.assembler)
        self._compared(step, [question for own in gold for question in own.questions])

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
        step.ask(level.model_id, more)
        if level.round is not None:
            if level.round == len(step.rounds):
                step.rounds.append({"round": level.round, "reused": 0, "to_generate": [0, 0]})
            of_round = step.rounds[level.round]
            of_round["reused"] += len(found)
            of_round["to_generate"] = list(added(of_round["to_generate"], more))
        named = self.inputs.method.others
        found_causes = causes(self.ledger, missing, self.slugs, self.roots, named)
        self._causes.update(dict(found_causes.most_common()))
        return found

    @property
    def _judge_id(self) -> str:
        return self.inputs.hands.of("judge").model_id

    def _compared(
        self, step: StepPlan, asked: Sequence[Comparison], beyond: int = 0
    ) -> dict[str, Judged]:
        known = compared(self.ledger, step, self._judge_id, asked, beyond)
        missing = {c.comparison_id: c for c in asked if c.comparison_id not in known}
        is_named = "judge" in self.inputs.method.others
        self._causes.update(judge_causes(self.ledger, list(missing.values()), is_named))
        return known


def compared(
    ledger: Ledger, step: StepPlan, judge_id: str, asked: Sequence[Comparison], beyond: int = 0
) -> dict[str, Judged]:
    """Count comparisons, and at most `beyond` that are not known yet; what the judge said.

    judge_id: the model that is asked.
    """
    known = judging.look_up(ledger, asked)
    missing = len({c.comparison_id for c in asked}) - len(known)
    step.reused += len(known)
    step.ask(judge_id, (missing, missing + beyond))
    return known
