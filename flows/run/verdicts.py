"""Every evaluation judges the policies it measured, and the ledger keeps what it said.

The rules are the recipe's (tasks/evaluation/gate_rules.py says which hold by default and what each
means), the figures those of the evaluation: held-out prompts, probes, ordinary text, answered by
candidate, base and champion alike. Where there is no champion yet the base stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from flows.plan import gates
from flows.plan.evaluation_parts import GateSettings
from storage.ledger import Ledger, Row, insert, now
from tasks.evaluation.gates import Verdict, judge
from tasks.training.settings import WEIGHT_CHANGE

# What a policy is made of, itself among it.
MADE_OF = {"sft": ("sft",), "dpo": ("sft", "dpo"), "ppo": ("sft", "reward", "ppo")}
UNMOVED = """
    SELECT m.subject_id FROM metrics m JOIN wanted w ON w.id = m.subject_id
    WHERE m.name = ? AND (m.value = 0 OR NOT isfinite(m.value))"""


def judge_policies(ledger: Ledger, evaluation_id: str, settings: GateSettings) -> list[Verdict]:
    """Hold every trained policy of an evaluation against the rules, and keep what comes of it.

    What it said before is replaced, unless it says the same.
    """
    checkpoints = gates.measured(ledger, evaluation_id)
    policies = gates.policies(checkpoints)
    found = judge(
        gates.figures(ledger, evaluation_id),
        settings.in_force(),
        policies,
        _unmoved(ledger, checkpoints),
        settings.questions,
    )
    _keep(ledger, evaluation_id, found, policies)
    return found


def _unmoved(ledger: Ledger, checkpoints: Mapping[str, str]) -> dict[str, list[str]]:
    """By policy, the stages behind it whose training changed no weight."""
    wanted = {"id": list(checkpoints.values())}
    still = {row["subject_id"] for row in ledger.query(UNMOVED, [WEIGHT_CHANGE], wanted)}
    return {
        policy: [stage for stage in stages if checkpoints.get(stage) in still]
        for policy, stages in MADE_OF.items()
    }


def _keep(
    ledger: Ledger, evaluation_id: str, found: list[Verdict], policies: Mapping[str, str]
) -> None:
    if gates.verdicts(ledger, evaluation_id) == found:
        return
    at = now()
    rows: list[Row] = [
        {
            "evaluation_id": evaluation_id,
            "number": number,
            "checkpoint_id": policies[verdict.policy],
            **vars(verdict),
            "rule": json.dumps(dict(verdict.rule)),
            "created_at": at,
        }
        for number, verdict in enumerate(found)
    ]
    with ledger.transaction() as con:
        insert(con, "gates", rows, replace=True)
        con.execute(
            "DELETE FROM gates WHERE evaluation_id = ? AND number >= ?", [evaluation_id, len(rows)]
        )
