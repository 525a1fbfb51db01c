"""The rows a stage reads, as its worker gets them: JSON lines, train and eval, ordered by id."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

from flows.plan.needs import Need
from storage.ledger import Ledger, batches

EXAMPLES = """
    SELECT e.example_id AS id, p.messages, e.response
    FROM dataset_rows r
    JOIN examples e ON e.example_id = r.row_id
    JOIN prompts p USING (prompt_id)"""
PAIRS = """
    SELECT x.pair_id AS id, p.messages, x.chosen, x.rejected, x.preference
    FROM dataset_rows r
    JOIN pairs x ON x.pair_id = r.row_id
    JOIN prompts p USING (prompt_id)"""
PROMPTS = """
    SELECT p.prompt_id AS id, p.messages
    FROM dataset_rows r
    JOIN prompts p ON p.prompt_id = r.row_id"""
ROWS = {"sft": EXAMPLES, "reward": PAIRS, "dpo": PAIRS, "ppo": PROMPTS}


def write_rows(ledger: Ledger, need: Need, folder: Path) -> dict[str, str]:
    """Write the rows of the stage's snapshot; the paths of "train", and "eval" for those held
    out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for side, held_out in (("train", False), ("eval", True)):
        path = folder / f"{need.step}-{side}.jsonl"
        sql = f"{ROWS[need.step]} WHERE r.dataset_id = ? AND r.is_held_out = ? ORDER BY id"
        parameters = [need.snapshot.dataset_id, held_out]
        with batches(ledger, sql, parameters) as found, path.open("w", encoding="utf-8") as file:
            for row in chain.from_iterable(found):
                parsed = row | {"messages": json.loads(row["messages"])}
                file.write(json.dumps(parsed, ensure_ascii=False) + "\n")
        paths[side] = str(path)
    return paths
