"""The refs `latest/…` that a run moves, and which of them point elsewhere now.

An edit that is taken back leaves nothing to do, while they still point to what came of the edit:
the next run moves them to what the recipe means now, and a plan says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from flows.plan.steps import STAGES
from storage.ledger import Ledger
from storage.own_refs import REF, full_name


def targets(made: Plan, inputs: Inputs) -> dict[str, str]:
    """Where a run of this plan points its refs, by name, as far as that is known before it."""
    pairs = made.steps["pairs"].id if "pairs" in made.steps else None
    prompts = inputs.prompt_snapshot.dataset_id if pairs else None
    rows = {"sft-rows": made.sft_rows_id, "preferences-rows": pairs, "prompts-rows": prompts}
    found = rows | {
        name: made.steps[name].id for name in (*STAGES, "evaluate") if name in made.steps
    }
    return {name: target for name, target in found.items() if target}


def moves(ledger: Ledger, wanted: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(`latest/NAME`, where it points, where it will) of the refs that are there and point to
    something else.
    """
    for name, target in wanted.items():
        ref = f"latest/{name}"
        now = next((row["target_id"] for row in ledger.query(REF, [full_name(ledger, ref)])), None)
        if now not in (None, target):
            yield ref, str(now), target
