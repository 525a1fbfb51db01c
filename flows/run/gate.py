"""The candidate before its gates: promoted where it passes them, and what came of it shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from flows.plan import gates
from flows.run.publish import publish_markdown
from flows.run.session import Session
from storage.ids import short
from storage.ledger import Row, move
from storage.own_refs import full
from tasks.evaluation.escape import markdown_cell

GATE_FAILED = "solon.gate.failed"  # the event that an alert can listen to
RESOURCE = "solon.workspace"


def conclude(
    session: Session, result: dict[str, Any], is_wanted: bool, author: str = ""
) -> dict[str, Any]:
    """Promote a whole run's candidate where it passes its gates and that is wanted, and say so.

    Returns {"gate": {"candidate", "policy", "passed", "reasons"}, "champion": the checkpoint that
    is it now, or null}; the reasons are those of what failed, else all.
    """
    ledger, policy = session.ledger, session.recipe.gate.candidate
    candidate = result["checkpoints"][policy]
    own = [gate for gate in result["gates"] if gate["policy"] == policy]
    passes = bool(own) and all(gate["is_passed"] for gate in own)
    is_promoted = passes and is_wanted
    if is_promoted:
        promote(session, candidate, author, result["verdict"])
    text = gate_markdown(result["verdict"], own, candidate, is_promoted)
    shows = "Gate: passed" if passes else "Gate: not passed"
    publish_markdown("gate", text, shows, session.recipe.name, session.run_id)
    reasons = [gate["reason"] for gate in own if passes or not gate["is_passed"]]
    gate = {"candidate": candidate, "policy": policy, "passed": passes, "reasons": reasons}
    return {"gate": gate, "champion": gates.holder(ledger)}


def promote(session: Session, checkpoint: str, author: str, note: str) -> None:
    """Make a checkpoint the recipe's champion, and the run's constitution its one in force."""
    with session.ledger.transaction() as con:
        own = partial(full, con, recipe=session.ledger.recipe)
        move(con, own("champion"), checkpoint, author, note)
        move(con, own("constitution"), session.inputs.constitution_id, author, note)


def gate_markdown(verdict: str, own: Sequence[Row], candidate: str, is_promoted: bool) -> str:
    """The sentence, and every bound with what was held against it, what failed first."""
    place = "is the champion now" if is_promoted else "is not promoted"
    lines = [f"# {markdown_cell(verdict)}", "", f"{short(candidate)} {place}.", ""]
    for gate in sorted(own, key=lambda gate: bool(gate["is_passed"])):
        lines.append(
            f"- {'passed' if gate['is_passed'] else '**failed**'}: {markdown_cell(gate['reason'])}"
        )
    return "\n".join(lines) + "\n"
