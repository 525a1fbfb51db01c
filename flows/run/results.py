"""What a run did, step by step, and where it says so: decisions in the ledger, and refs."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.plan import gates
from flows.plan.advice import advice
from flows.plan.inputs import Inputs
from flows.plan.latest import targets
from flows.plan.plan import Plan
from flows.plan.read_inputs import count_exclusions
from flows.plan.steps import STAGES, STEPS
from flows.run.killed import end_killed_runs
from flows.run.verdicts import judge_policies
from storage.artifacts import artifact_path
from storage.ledger import Ledger, insert, move, now, point
from storage.own_refs import full, full_name
from storage.readable import ledger_at
from storage.report_files import whole_page
from storage.workspace import Workspace
from tasks.evaluation.rows import read_answers
from tasks.evaluation.verdict import equal_sentences
from tasks.generation.record import record_prompts
from tasks.generation.record_rows import record_teaching
from tasks.generation.teaching import Teaching
from tasks.generation.walk import windows

Change = tuple[object, object, object]  # a component of a key, its value before, its value now


@dataclasses.dataclass
class StepResult:
    """What a run did in one step: the row of `solon run --json`."""

    step: str
    reused: int = 0
    generated: int = 0
    excluded: int = 0
    trained: int = 0
    id: str | None = None
    duration_s: float = 0.0
    rows: int = 0  # those a stage was trained on
    note: str = ""  # why a stage that was made is not said to be trained


class Results:
    """The results of one run by step."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self.ledger, self.run_id = ledger, run_id
        self.steps: dict[str, StepResult] = {}
        self.refs: str | None = "latest"  # how the refs this run moves begin; None: it moves none
        self._decisions = itertools.count()

    def of(self, step: str) -> StepResult:
        return self.steps.setdefault(step, StepResult(step))

    def point(self, name: str, target_id: str) -> None:
        if self.refs:
            point(self.ledger, full_name(self.ledger, f"{self.refs}/{name}"), target_id)

    def decide(
        self,
        step: str,
        subject_id: str,
        verdict: str,
        rows: int = 1,
        why: Sequence[Change] | None = None,
    ) -> None:
        """Record a decision, once for every component that changed."""
        values = [
            {
                "run_id": self.run_id,
                "number": next(self._decisions),
                "step": step,
                "subject_id": subject_id,
                "verdict": verdict,
                "row_count": rows,
                "component": component,
                "was": None if was is None else str(was),
                "is_now": None if is_now is None else str(is_now),
                "created_at": now(),
            }
            for component, was, is_now in (why or [(None, None, None)])
        ]
        with self.ledger.transaction() as con:
            insert(con, "decisions", values)


def run_result(
    inputs: Inputs,
    workspace: Workspace,
    run_id: str | None,
    steps: Mapping[str, StepResult],
    left_out: Counter[tuple[str, str]],
    sft_rows_id: str | None,
    teaching: Teaching | None,
    report: Path | None,
    judged: Mapping[str, Any],
) -> dict[str, Any]:
    """A run in short, as `solon run --json` promises it. `judged`: see `plan.gates.told`."""
    ids = {name: step.id for name, step in steps.items()}
    return {
        "run_id": run_id,
        "recipe": inputs.recipe.name,
        "workspace": str(workspace.root),
        "steps": [dataclasses.asdict(steps[name]) for name in STEPS if name in steps],
        "exclusions": count_exclusions(inputs.left_out, left_out),
        "notes": inputs.notes,
        "teaching": teaching.to_json() if teaching else None,
        "snapshots": {"sft": sft_rows_id, "preferences": ids.get("pairs")},
        "checkpoints": {stage: ids.get(stage) for stage in STAGES},
        "equal": _equal(workspace, ids.get("evaluate")),
        "report": str(report) if report else None,
        "advice": advice(
            inputs,
            left_out,
            {name: step.rows for name, step in steps.items()},
            ledger_at(workspace.ledger, recipe=inputs.recipe.name),
            run_id,
            ids.get("evaluate"),
        ),
        **judged,
    }


def _equal(workspace: Workspace, evaluation_id: str | None) -> list[str]:
    """Which policies answer as their parents do."""
    if evaluation_id is None:
        return []
    return list(equal_sentences(read_answers(artifact_path(workspace, evaluation_id))).values())


def nothing_done(made: Plan, inputs: Inputs, workspace: Workspace) -> dict[str, Any]:
    """The result of a run that had nothing to do: the same ids as the run that made them.

    The refs `latest/...` follow it, as they follow every run, and the gates are those of now. So is
    what the files say of the prompts, and the rules say of the pairs.
    """
    ledger = ledger_at(workspace.ledger, recipe=inputs.recipe.name)
    end_killed_runs(ledger)
    steps = {
        name: StepResult(name, reused=step.reused, excluded=step.excluded, id=step.id)
        for name, step in made.steps.items()
    }
    evaluation = made.steps["evaluate"].id if "evaluate" in made.steps else None
    found = whole_page(workspace.reports / (evaluation or ""))
    known = made.left_out, made.sft_rows_id, made.teaching
    settings = inputs.recipe.gate
    if evaluation:
        judge_policies(ledger, evaluation, settings)
    judged = gates.told(ledger, evaluation, settings.candidate)
    result = run_result(inputs, workspace, None, steps, *known, found, judged)
    for window in windows(inputs.prompts):
        record_prompts(ledger, window, is_own=True)
    if made.teaching and (pairs := result["snapshots"]["preferences"]):
        record_teaching(ledger, pairs, made.teaching)
    with ledger.transaction() as con:
        for name, target in targets(made, inputs).items():
            move(con, full(con, f"latest/{name}", ledger.recipe), target)
    return result


@contextmanager
def timed(result: StepResult) -> Iterator[None]:
    """Add the block's seconds to a step's duration."""
    started = time.monotonic()
    try:
        yield
    finally:
        result.duration_s = round(result.duration_s + time.monotonic() - started, 3)
