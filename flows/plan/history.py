"""What this ledger's own history says about what may come back equal, and what was before."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from constitution.schema import Principle
from flows.plan.pair_parts import PairSettings, SetSettings
from storage.ledger import Ledger
from storage.own_refs import target
from tasks.generation.method import Method
from tasks.generation.walk import Level

# Prompts that wait and have a completion of this step and model that was asked in the same words.
MAY_SERVE = """
    SELECT count(*) AS n FROM wanted SEMI JOIN (
        SELECT c.prompt_id, p.critique, CASE c.step WHEN 'revision' THEN p.revision END AS revision
        FROM completions c JOIN principles p USING (principle_id)
        WHERE c.step = ? AND c.model_id = ?
    ) AS found ON found.prompt_id = wanted.prompt_id AND found.critique = wanted.critique
        AND coalesce(found.revision, wanted.revision) = wanted.revision"""
ANY_THERE = "SELECT 1 FROM completions WHERE step = ? AND model_id = ? LIMIT 1"
WORDS_BEHIND = """
    SELECT p.slug, p.critique, p.revision FROM datasets JOIN runs USING (run_id)
    JOIN constitutions k USING (constitution_id)
    JOIN principles p ON list_contains(k.principle_ids, p.principle_id) WHERE dataset_id = ?"""
NAMED_BEHIND = """
    SELECT settings->'models' AS models FROM datasets JOIN runs USING (run_id)
    WHERE dataset_id = ?"""
PAIRS_BEHIND = """
    SELECT settings->'pairs' AS pairs FROM datasets JOIN runs USING (run_id)
    WHERE dataset_id = ?"""
LATEST_COMPONENTS = """
    SELECT c.components FROM checkpoints c LEFT JOIN runs r USING (run_id)
    WHERE c.stage = $1 AND (c.checkpoint_id = $2 OR r.recipe = $3 OR $3 = '')
    ORDER BY c.checkpoint_id IS NOT DISTINCT FROM $2 DESC, c.created_at DESC LIMIT 1"""
ANY_MADE = "SELECT 1 FROM checkpoints WHERE stage = ? AND base_model_id = ? LIMIT 1"
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

    def brought_since(self, dataset_id: str, now: PairSettings) -> list[str]:
        """The keys under which the run behind a snapshot was given other sets of people's."""
        found = self.ledger.query(PAIRS_BEHIND, [dataset_id])
        if not found:
            return []
        known = json.loads(found[0]["pairs"] or "{}")
        given = {name: known.get(name) for name in ("people", "demonstrations")}
        before = PairSettings.model_validate(given)
        return [f"pairs.{n}" for n in given if _rows(getattr(before, n)) != _rows(getattr(now, n))]

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


def _rows(sets: Iterable[SetSettings]) -> list[Any]:
    """What of the settings of sets decides which rows they give."""
    return [(each.path, each.ratio, each.columns, each.encoding) for each in sets]


def _name(asked: Any) -> Any:
    """What a recipe calls the model of a role: a reference, or a server's name for it."""
    return asked.get("model") if isinstance(asked, dict) else asked
