"""What calls and stages took on this machine, as its ledger tells: tokens, seconds, device."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.plan.first_rates import START_S
from flows.plan.settings import filled
from flows.plan.work import work_of
from storage.ledger import Columns, Ledger, Row
from tasks.machine import machine_name

# Seconds count where they were measured on this machine; older runs know its host's name only.
HERE = "(r.machine = $1 OR (r.machine IS NULL AND r.host = $2))"
# A model, it quantized, and the adapters on it: what they answer takes about equally long.
FAMILY = """
    WITH RECURSIVE family(id) AS (
        SELECT $3::VARCHAR UNION SELECT model_id FROM models JOIN family ON base_model_id = id)"""
# Of an answer that was cut below the limit of now nobody knows the end: it is taken to fill it.
CALL_COST = f"""{FAMILY}
    SELECT step, device, avg(tokens) AS tokens, avg(prompt_tokens) AS prompt_tokens,
           avg(tokens) * sum(took) / greatest(sum(completion_tokens) FILTER (is_here), 1)
               AS seconds
    FROM (
        SELECT c.*, {HERE} AS is_here,
               (c.duration_s + coalesce(s.duration_s, 0)) * CASE WHEN {HERE} THEN 1 END AS took,
               CASE WHEN cut_at > 0 AND cut_at < w.most THEN w.most
                    ELSE least(completion_tokens, w.most) END AS tokens
        FROM completions c JOIN wanted w USING (step) LEFT JOIN runs r USING (run_id) LEFT JOIN (
            SELECT completion_id, cut_at, sum(duration_s) AS duration_s FROM scores GROUP BY ALL
        ) s USING (completion_id, cut_at)
        WHERE model_id IN (SELECT id FROM family) AND cut_at >= 0
            AND (model_id = $3 OR step IN ('answer', 'sample'))
    ) GROUP BY step, device
    QUALIFY row_number() OVER (
        PARTITION BY step ORDER BY seconds IS NULL, max(created_at) DESC) = 1"""
COMPARISON_COST = f"""
    SELECT 'comparison' AS step, 0.0::DOUBLE AS tokens, device,
           avg(c.duration_s) FILTER ({HERE}) AS seconds
    FROM comparisons c JOIN runs r USING (run_id) WHERE model_id = $3 GROUP BY device
    ORDER BY seconds IS NULL, max(c.created_at) DESC LIMIT 1"""
PASSAGE_COST = f"""{FAMILY}
    SELECT avg(s.duration_s) AS seconds FROM scores s JOIN runs r USING (run_id)
    JOIN family ON id = model_id WHERE {HERE} AND measure = 'nll'"""
STAGES_HERE = f"""
    SELECT c.duration_s AS seconds, coalesce(device, '') AS device, dataset_id, row_count,
           held_out_count, components->'settings' AS settings, m.value AS peak_bytes
    FROM checkpoints c JOIN runs r USING (run_id) JOIN datasets USING (dataset_id)
    LEFT JOIN metrics m ON m.subject_id = checkpoint_id AND m.name = 'peak_memory'
    WHERE {HERE} AND stage = $3 AND base_model_id = $4 AND row_count > 0
    ORDER BY c.created_at DESC LIMIT {{count}}"""
EVALUATION_COST = f"""
    SELECT duration_s AS seconds, 0.0::DOUBLE AS tokens, coalesce(device, '') AS device
    FROM checkpoints c JOIN runs r USING (run_id)
    WHERE {HERE} AND stage = 'evaluate' AND base_model_id = $3 ORDER BY c.created_at DESC LIMIT 1"""
CHARS_A_TOKEN = 4
ROW_TOKENS = """
    SELECT avg(chars) AS chars FROM (
        SELECT length(p.messages::VARCHAR) + length(e.response) AS chars
        FROM wanted JOIN examples e ON e.example_id = wanted.id JOIN prompts p USING (prompt_id)
        UNION ALL
        SELECT 2 * length(p.messages::VARCHAR) + length(x.chosen) + length(x.rejected)
        FROM wanted JOIN pairs x ON x.pair_id = wanted.id JOIN prompts p USING (prompt_id)
        UNION ALL
        SELECT length(p.messages::VARCHAR) FROM wanted JOIN prompts p ON p.prompt_id = wanted.id)"""
MEMBERS = "SELECT row_id FROM dataset_rows WHERE dataset_id = ?"
NEWEST = 3  # checkpoints of a stage that its rate is taken from
LEAST_SHARE = 0.2  # of a stage's seconds that are its work, however short it was


@dataclass(frozen=True)
class Cost:
    """Of one call: seconds, mean tokens out and in, and whether a GPU of ours does it."""

    seconds: float | None
    tokens: float
    device: str
    prompt_tokens: float | None = None

    @property
    def is_on_gpu(self) -> bool:
        return self.device not in ("cpu", "none", "server", "")


@dataclass(frozen=True)
class Rate:
    """Of a stage: seconds a token of its work, on which device, and the most bytes it took."""

    seconds: float
    device: str
    peak_bytes: float | None


class Measured:
    """Read-only questions to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.place = [machine_name(), platform.node()]

    def calls(self, model_id: str, limits: Mapping[str, int]) -> dict[str, Cost]:
        """What a call of each step costs with this model, on the device it last ran on here; an
        answer in an evaluation with any adapter on it too, its scores included. limits: tokens.

        Seconds are None for a step that this machine never did.
        """
        asked = [*self.place, model_id]
        wanted: Columns = {"step": list(limits), "most": list(limits.values())}
        found = self.ledger.query(CALL_COST, asked, wanted)
        found += self.ledger.query(COMPARISON_COST, asked)
        return {row.pop("step"): Cost(**row) for row in found}

    def passage(self, base_model_id: str) -> float | None:
        """Seconds of reading a passage of ordinary text."""
        found = self.ledger.query(PASSAGE_COST, [*self.place, base_model_id])
        return found[0]["seconds"] if found else None

    def evaluation(self, base_model_id: str) -> Cost | None:
        """What the newest evaluation on this base took: from before answers were kept."""
        found = self.ledger.query(EVALUATION_COST, [*self.place, base_model_id])
        return Cost(**found[0]) if found else None

    def stage(self, stage: str, base_model_id: str) -> Rate | None:
        """What the newest checkpoints of a stage on this base took, a token of their work."""
        sql = STAGES_HERE.format(count=NEWEST)
        found = self.ledger.query(sql, [*self.place, stage, base_model_id])
        tokens = sum(self._work(stage, row) for row in found)
        if not tokens:
            return None
        seconds = sum(max(row["seconds"] - START_S, LEAST_SHARE * row["seconds"]) for row in found)
        peaks = [row["peak_bytes"] for row in found if row["peak_bytes"]]
        return Rate(seconds / tokens, found[0]["device"], max(peaks, default=None))

    def _work(self, stage: str, row: Row) -> float:
        counts = row["row_count"], row["held_out_count"]
        members = self.ledger.query(MEMBERS, [row["dataset_id"]])
        of_a_row = self.row_tokens([member["row_id"] for member in members]) or 0.0
        settings = filled(stage, {}) | json.loads(row["settings"])  # a key has those that decide
        return work_of(stage, settings, *counts, of_a_row).tokens

    def row_tokens(self, ids: Sequence[str]) -> float | None:
        """Mean tokens of rows of a snapshot, by their characters; None where none is kept yet."""
        found = self.ledger.query(ROW_TOKENS, wanted={"id": list(ids)}) if ids else []
        chars = found[0]["chars"] if found else None
        return chars / CHARS_A_TOKEN if chars else None
