"""The rows a stage reads, as its worker gets them: JSON lines, train and eval, ordered by id."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

from flows.plan.needs import MEMBERS, Need
from storage.ledger import Ledger, batches


def write_rows(ledger: Ledger, need: Need, folder: Path) -> dict[str, str]:
    """Write the rows of the stage's snapshot; the paths of "train", and "eval" for those held
    out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for side, held_out in (("train", False), ("eval", True)):
        path = folder / f"{need.step}-{side}.jsonl"
        sql = f"{MEMBERS[need.snapshot.kind]} AND r.is_held_out = ? ORDER BY id"
        parameters = [need.snapshot.dataset_id, held_out]
        with batches(ledger, sql, parameters) as found, path.open("w", encoding="utf-8") as file:
            for row in chain.from_iterable(found):
                del row["is_held_out"]
                parsed = row | {"messages": json.loads(row["messages"])}
                file.write(json.dumps(parsed, ensure_ascii=False) + "\n")
        paths[side] = str(path)
    return paths
