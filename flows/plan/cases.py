"""What the judge is asked of a walk: the same for a plan, which counts, and a run, which asks."""

from __future__ import annotations

from flows.plan.inputs import Inputs
from tasks.generation.snapshots import Assembler
from tasks.generation.sources import Source
from tasks.generation.walk import Walk
from tasks.judging.opinions import Case, case_of


def cases_of(inputs: Inputs, assembler: Assembler, walked: Walk) -> list[Case]:
    """The pools that no program decides, with the judge's questions; none without a judge."""
    judge, assigner = inputs.judge, inputs.method.assigner
    if judge is None:
        return []
    return [case_of(judge, assigner, decision) for decision in assembler.open(walked)]


def most_comparisons(inputs: Inputs, source: Source) -> int:
    """How many comparisons a prompt of this source may ask for at most."""
    if inputs.judge is None:
        return 0
    answers = inputs.method.samples if source == "candidates" else 2
    return inputs.judge.n_principles * answers * (answers - 1) // 2
