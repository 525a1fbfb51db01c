"""From rows to checkpoints, where the rows may depend on the first of these."""

from __future__ import annotations

from collections.abc import Callable

from flows.plan.needs import Needs, stage_needs
from flows.plan.steps import Step, at_most
from flows.run.data import DataSide
from flows.run.session import Session
from flows.run.stages import train
from storage.errors import SolonError
from tasks.generation.snapshots import Rows

REASONS = 3
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
    checkpoints = have(session, _with_rows(stage_needs(session.inputs, rows, until), rows))
    if rows.later and at_most("reward", until):
        rows = data.add_candidates(checkpoints["sft"])
        needs = stage_needs(session.inputs, rows, until)
        needs = _with_rows(needs, rows)
        checkpoints |= have(session, {stage: n for stage, n in needs.items() if stage != "sft"})
    return rows, checkpoints


def _with_rows(needs: Needs, rows: Rows) -> Needs:
    """The same. Raises SolonError for a stage without a row to train on, with the reasons why."""
    for need in needs.values():
        if not need.snapshot.training:
            most = ", ".join(
                f"{count} {reason}" for (_, reason), count in rows.left_out.most_common(REASONS)
            )
            raise SolonError(
                f"{need.step}: no rows to train on (left out: {most or 'none'}): give more prompts"
                " or raise pairs.max_new_tokens; solon recipe pairs tells the settings"
            )
    return needs
