"""What this ledger's own history says about cost and about what may come back equal."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from constitution.schema import Principle
from storage.ledger import Ledger
from storage.own_refs import target
from tasks.generation.method import Method
from tasks.generation.walk import Level
from tasks.machine import machine_name

# Prompts that wait and have a completion of this step and model that was asked in the same words.
MAY_SERVE = """
    SELECT count(*) AS n FROM wanted SEMI JOIN (
        SELECT c.prompt_id, p.critique, CASE c.step WHEN 'revision' THEN p.revision END AS revision
        FROM completions c JOIN principles p USING (principle_id)
        WHERE c.step = ? AND c.model_id = ?
    ) AS found ON found.prompt_id = wanted.prompt_id AND found.critique = wanted.critique
        AND coalesce(found.revision, wanted.revision) = wanted.revision"""
ANY_THERE = "SELECT 1 FROM completions WHERE step = ? AND model_id = ? LIMIT 1"
# Seconds count where they were measured on this machine; older runs know its host's name only.
HERE = "(r.machine = $1 OR (r.machine IS NULL AND r.host = $2))"
CALL_COST = f"""
    SELECT step, avg(completion_tokens) AS tokens, device, avg(prompt_tokens) AS prompt_tokens,
           avg(c.duration_s + coalesce(s.duration_s, 0)) FILTER ({HERE}) AS seconds
    FROM completions c LEFT JOIN runs r USING (run_id) LEFT JOIN (
        SELECT completion_id, cut_at, sum(duration_s) AS duration_s FROM scores GROUP BY ALL
    ) s USING (completion_id, cut_at)
    WHERE (model_id = $3 OR step IN ('answer', 'sample')) AND cut_at >= 0 GROUP BY step, device
    QUALIFY row_number() OVER (
        PARTITION BY step ORDER BY seconds IS NULL, max(created_at) DESC) = 1"""
COMPARISON_COST = f"""
    SELECT 'comparison' AS step, 0.0::DOUBLE AS tokens, device,
           avg(c.duration_s) FILTER ({HERE}) AS seconds
    FROM comparisons c JOIN runs r USING (run_id) WHERE model_id = $3 GROUP BY device
    ORDER BY seconds IS NULL, max(c.created_at) DESC LIMIT 1"""
WORDS_BEHIND = """
    SELECT p.slug, p.critique, p.revision FROM datasets JOIN runs USING (run_id)
    JOIN constitutions k USING (constitution_id)
    JOIN principles p ON list_contains(k.principle_ids, p.principle_id) WHERE dataset_id = ?"""
NAMED_BEHIND = """
    SELECT settings->'models' AS models FROM datasets JOIN runs USING (run_id)
    WHERE dataset_id = ?"""
LATEST_COMPONENTS = """
    SELECT c.components FROM checkpoints c LEFT JOIN runs r USING (run_id)
    WHERE c.stage = $1 AND (c.checkpoint_id = $2 OR r.recipe = $3 OR $3 = '')
    ORDER BY c.checkpoint_id IS NOT DISTINCT FROM $2 DESC, c.created_at DESC LIMIT 1"""
ANY_MADE = "SELECT 1 FROM checkpoints WHERE stage = ? AND base_model_id = ? LIMIT 1"
STAGE_COST = f"""
    SELECT duration_s AS seconds, 0.0::DOUBLE AS tokens, coalesce(device, '') AS device
    FROM checkpoints c JOIN runs r USING (run_id)
    WHERE {HERE} AND stage = $3 AND base_model_id = $4 ORDER BY c.created_at DESC LIMIT 1"""
STEP_OF_LEVEL = {
    "drafts": "draft",
    "critiques": "critique",
    "revisions": "revision",
    "samples": "sample",
    "comparisons": "comparison",
    "evaluate": "answer",
}


class History:
    """Read-only questions to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def certainly_new(self, level: Level, method: Method) -> int:
        """How many waiting prompts cannot be served whatever comes out of the calls before them.

        A prompt may be served by a completion for it, of this step and model, that was asked in the
        words of the principle it has now; or by an earlier round of this run, under that principle.
        """
        if not level.waiting or level.round is None:
            return 0
        met = [(p.prompt_id, method.principles(p)[: level.round + 1]) for p in level.waiting]
        met = [(prompt_id, found) for prompt_id, found in met if found[-1] not in found[:-1]]
        step = STEP_OF_LEVEL[level.step]
        model_id = level.model_id
        if not met or not self.ledger.query(ANY_THERE, [step, model_id]):
            return len(met)
        wanted = {
            "prompt_id": [prompt_id for prompt_id, _ in met],
            "critique": [found[-1].critique for _, found in met],
            "revision": [found[-1].revision for _, found in met],
        }
        return len(met) - int(self.ledger.query(MAY_SERVE, [step, model_id], wanted)[0]["n"])

    def latest_components(self, stage: str) -> dict[str, Any] | None:
        """The key's parts of the recipe's checkpoint of a stage in use, else of its newest."""
        asked = [stage, self.latest(stage), self.ledger.recipe]
        found = self.ledger.query(LATEST_COMPONENTS, asked)
        return json.loads(found[0]["components"]) if found else None

    def may_serve(self, stage: str, base_model_id: str) -> bool:
        """Whether any recipe has a checkpoint of a stage on this base, which may come out again."""
        return bool(self.ledger.query(ANY_MADE, [stage, base_model_id]))

    def reworded_since(self, dataset_id: str, principles: Iterable[Principle]) -> list[str]:
        """The slugs whose words, as rows show them, are not those of the run behind a snapshot."""
        found = self.ledger.query(WORDS_BEHIND, [dataset_id])
        behind = {(row["slug"], row["critique"], row["revision"]) for row in found}
        now = {p.slug: (p.slug, p.critique, p.revision) for p in principles}
        return [slug for slug, words in now.items() if behind and words not in behind]

    def renamed_since(self, dataset_id: str, now: Mapping[str, Any]) -> list[str]:
        """The roles in which the run behind a snapshot asked others than the recipe names `now`."""
        found = self.ledger.query(NAMED_BEHIND, [dataset_id])
        before = json.loads(found[0]["models"] or "{}") if found else now
        return [role for role, asked in now.items() if _name(before.get(role)) != _name(asked)]

    def has(self, checkpoint_id: str) -> bool:
        return bool(self.known("checkpoints", "checkpoint_id", [checkpoint_id]))

    def known(self, table: str, column: str, ids: Collection[str]) -> int:
        """How many rows a table has of these ids, each given once."""
        sql = f"SELECT count(*) AS n FROM {table} SEMI JOIN wanted ON {column} = wanted.id"
        found = self.ledger.query(sql, wanted={"id": list(ids)}) if ids else []
        return int(found[0]["n"]) if found else 0

    def latest(self, stage: str) -> str | None:
        """The recipe's checkpoint that `latest/<stage>` points to."""
        return target(self.ledger, f"latest/{stage}")

    def call_cost(self, model_id: str) -> dict[str, Cost]:
        """What a call of each step costs with this model, on the device it last ran on here; an
        answer in an evaluation with any model, its scores included.

        Seconds are None for a step that this machine never did.
        """
        asked = [machine_name(), platform.node(), model_id]
        found = self.ledger.query(CALL_COST, asked) + self.ledger.query(COMPARISON_COST, asked)
        return {row.pop("step"): Cost(**row) for row in found}

    def stage_cost(self, stage: str, base_model_id: str) -> Cost | None:
        """What the newest checkpoint of a stage on this base took on this machine."""
        place = [machine_name(), platform.node()]
        found = self.ledger.query(STAGE_COST, [*place, stage, base_model_id])
        return Cost(**found[0]) if found else None


def _name(asked: Any) -> Any:
    """What a recipe calls the model of a role: a reference, or a server's name for it."""
    return asked.get("model") if isinstance(asked, dict) else asked


@dataclass(frozen=True)
class Cost:
    """Of one call or stage: seconds, mean tokens out and in, and whether a GPU of ours does it."""

    seconds: float | None
    tokens: float
    device: str
    prompt_tokens: float | None = None

    @property
    def is_on_gpu(self) -> bool:
        return self.device not in ("cpu", "none", "server", "")
