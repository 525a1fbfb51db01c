"""What an evaluation said of promoting its models, as the ledger has it."""

from __future__ import annotations

import json
from typing import Any

from flows.plan.answers import POLICIES
from storage.ledger import Ledger
from storage.own_refs import target
from tasks.evaluation.figures import Figures
from tasks.evaluation.gates import Verdict
from tasks.evaluation.rows import CHAMPION
from tasks.evaluation.verdict import verdict_sentence

MEASURED = "SELECT parent_roles, parent_ids FROM checkpoints WHERE checkpoint_id = ?"
METRICS = """
    SELECT name, value, low, high, sample_count FROM metrics
    WHERE subject_id = ? AND step = -1 AND contains(name, '/')"""
VERDICTS = """
    SELECT policy, checkpoint_id, metric, rule, value, low, high, is_passed, reason FROM gates
    WHERE evaluation_id = ? ORDER BY number"""


def measured(ledger: Ledger, evaluation_id: str) -> dict[str, str]:
    """The checkpoints of an evaluation by what they are in it; empty for one never heard of."""
    found = ledger.query(MEASURED, [evaluation_id])
    return dict(zip(found[0]["parent_roles"], found[0]["parent_ids"], strict=True)) if found else {}


def policies(checkpoints: dict[str, str]) -> dict[str, str]:
    """The trained policies among them."""
    return {policy: checkpoints[policy] for policy in POLICIES if policy in checkpoints}


def figures(ledger: Ledger, evaluation_id: str) -> Figures:
    """The figures of an evaluation, and which of its policies is the champion now."""
    rows = []
    for row in ledger.query(METRICS, [evaluation_id]):
        policy, _, metric = row["name"].partition("/")
        numbers = {"value": row["value"], "low": row["low"], "high": row["high"]}
        rows.append({"policy": policy, "metric": metric, "n": row["sample_count"]} | numbers)
    return Figures(rows, champion(ledger, measured(ledger, evaluation_id)))


def champion(ledger: Ledger, checkpoints: dict[str, str]) -> str | None:
    """What the champion is among the checkpoints of an evaluation; its id where it is none of them,
    under which nothing is measured; None where there is no champion.
    """
    now = holder(ledger)
    return next((role for role, own in checkpoints.items() if own == now), now)


def holder(ledger: Ledger) -> str | None:
    """The checkpoint that is the recipe's champion now."""
    return target(ledger, CHAMPION)


def kept(ledger: Ledger, evaluation_id: str) -> list[dict[str, Any]]:
    """Every verdict of an evaluation: {"policy", "checkpoint_id", "metric", "rule", "value", "low",
    "high", "is_passed", "reason"}.
    """
    found = ledger.query(VERDICTS, [evaluation_id])
    return [row | {"rule": json.loads(row["rule"])} for row in found]


def verdicts(ledger: Ledger, evaluation_id: str) -> list[Verdict]:
    """Every verdict of an evaluation."""
    rows = kept(ledger, evaluation_id)
    return [Verdict(**{k: v for k, v in row.items() if k != "checkpoint_id"}) for row in rows]


def sentence(ledger: Ledger, evaluation_id: str, policy: str) -> str:
    """The verdict on a policy of an evaluation, in one sentence."""
    own = verdicts(ledger, evaluation_id)
    return verdict_sentence(figures(ledger, evaluation_id), own, policy)


def told(ledger: Ledger, evaluation_id: str | None, candidate: str) -> dict[str, Any]:
    """{"verdict": on the candidate in one sentence, or null, "gates": every verdict}."""
    if evaluation_id is None:
        return {"verdict": None, "gates": []}
    found = kept(ledger, evaluation_id)
    said = sentence(ledger, evaluation_id, candidate) if found else None
    return {"verdict": said, "gates": found}
