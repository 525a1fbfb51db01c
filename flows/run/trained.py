"""From rows to checkpoints, where the rows may depend on the first of these."""

from __future__ import annotations

from collections.abc import Callable

from flows.plan.needs import Needs, stage_needs
from flows.plan.steps import Step, at_most
from flows.run.data import DataSide
from flows.run.session import Session
from flows.run.stages import train
from tasks.generation.snapshots import Rows

Have = Callable[[Session, Needs], dict[str, str]]


def stages_of(
    session: Session,
    data: DataSide,
    rows: Rows,
    until: Step | None = None,
    have: Have = train,
) -> tuple[Rows, dict[str, str]]:
    """The stages of these rows, trained or only looked for, by their checkpoints.

    Where SFT's own answers are candidates, the rows with the pairs of these come between SFT and
    what is trained on them.
    """
    checkpoints = have(session, stage_needs(session.inputs, rows, until))
    if rows.later and at_most("reward", until):
        rows = data.add_candidates(checkpoints["sft"])
        needs = stage_needs(session.inputs, rows, until)
        checkpoints |= have(session, {stage: n for stage, n in needs.items() if stage != "sft"})
    return rows, checkpoints
