"""What this ledger's own history says about cost and about what may come back equal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from constitution.assign import assign
from storage.ledger import Ledger
from tasks.generation.calls import category_of, principle_id
from tasks.generation.walk import Level, Method
from tasks.prompts import Prompt

if TYPE_CHECKING:
    from flows.inputs import Inputs
    from flows.plan import StepPlan

STEP_OF_LEVEL = {"drafts": "draft", "critiques": "critique", "revisions": "revision"}


class History:
    """Read-only questions to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def certainly_new(self, level: Level, method: Method) -> int:
        """How many waiting prompts cannot be served whatever comes out of the calls before them.

        A prompt may be served only if the ledger has a completion of this step and round for it,
        by this model, under the principle it has now.
        """
        if not level.waiting:
            return 0
        rows = self.ledger.query(
            "SELECT DISTINCT prompt_id, principle_id FROM completions"
            " WHERE step = ? AND round IS NOT DISTINCT FROM ? AND model_id = ?",
            [STEP_OF_LEVEL[level.step], level.round, method.model_id],
        )
        there = {(row["prompt_id"], row["principle_id"]) for row in rows}
        return sum(
            (p.prompt_id, _principle(method, p, level.round)) not in there for p in level.waiting
        )

    def latest_components(self, stage: str) -> dict[str, Any] | None:
        """The key's parts of the newest checkpoint of a stage."""
        found = self.ledger.query(
            "SELECT components FROM checkpoints WHERE stage = ? ORDER BY created_at DESC LIMIT 1",
            [stage],
        )
        return json.loads(found[0]["components"]) if found else None

    def has(self, checkpoint_id: str) -> bool:
        return bool(
            self.ledger.query("SELECT 1 FROM checkpoints WHERE checkpoint_id = ?", [checkpoint_id])
        )

    def has_metrics(self, subject_id: str) -> bool:
        return bool(self.ledger.query("SELECT 1 FROM metrics WHERE subject_id = ?", [subject_id]))

    def known(self, table: str, column: str, ids: set[str]) -> int:
        """How many of these ids a table has."""
        sql = f"SELECT count(*) AS n FROM {table} WHERE {column} IN (SELECT unnest(?::VARCHAR[]))"
        found = self.ledger.query(sql, [sorted(ids)])
        return int(found[0]["n"]) if found else 0

    def cost(self, steps: dict[str, StepPlan], inputs: Inputs) -> dict[str, Any]:
        """`{"calls", "tokens", "seconds"}` as [min, max]; seconds None without a history."""
        calls, tokens, seconds = [0, 0], [0.0, 0.0], [0.0, 0.0]
        is_known = True
        rates = self._rates(inputs.method.model_id)
        limits = inputs.recipe.generation.max_new_tokens.model_dump()
        for name, step in steps.items():
            low_high = step.to_generate if name in STEP_OF_LEVEL else step.to_train
            if not low_high[1]:
                continue
            if name in STEP_OF_LEVEL:
                kind = STEP_OF_LEVEL[name]
                mean_tokens, mean_s = rates.get(kind, (float(limits[kind]), None))
            else:
                mean_tokens, mean_s = 0.0, self._stage_seconds(name)
            is_known = is_known and mean_s is not None
            for side, count in enumerate(low_high):
                calls[side] += count if name in STEP_OF_LEVEL else 0
                tokens[side] += count * mean_tokens
                seconds[side] += count * (mean_s or 0.0)
        return {
            "calls": calls,
            "tokens": [round(value) for value in tokens],
            "seconds": [round(value, 1) for value in seconds] if is_known else None,
        }

    def _rates(self, model_id: str) -> dict[str, tuple[float, float | None]]:
        """Mean (tokens, seconds) of a call by step, of this model."""
        rows = self.ledger.query(
            "SELECT step, avg(completion_tokens) AS tokens, avg(duration_s) AS seconds"
            " FROM completions WHERE model_id = ? AND cut_at >= 0 GROUP BY step",
            [model_id],
        )
        return {row["step"]: (row["tokens"], row["seconds"]) for row in rows}

    def _stage_seconds(self, stage: str) -> float | None:
        rows = self.ledger.query(
            "SELECT duration_s FROM checkpoints WHERE stage = ? ORDER BY created_at DESC LIMIT 1",
            [stage],
        )
        return rows[0]["duration_s"] if rows else None


def _principle(method: Method, prompt: Prompt, round: int | None) -> str | None:
    if round is None:
        return None
    return principle_id(assign(method.constitution, prompt.prompt_id, round, category_of(prompt)))
