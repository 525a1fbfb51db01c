"""Why a call has no answer yet: which component of its key differs from the last one of its
kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from storage.ledger import Ledger, Row
from tasks.generation.calls import Call

# The latest completion in the same place: same step and round of the same prompt.
LATEST = """
    SELECT w.position, c.completion_id, c.model_id, c.principle_id, c.few_shot_id, c.temperature,
           c.top_p, p.slug
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = w.step
        AND c.round IS NOT DISTINCT FROM w.round
    LEFT JOIN principles p ON p.principle_id = c.principle_id
    QUALIFY row_number() OVER (PARTITION BY w.position ORDER BY c.created_at DESC) = 1
"""


def causes(ledger: Ledger, calls: Sequence[Call], slugs: dict[str, str]) -> list[dict[str, Any]]:
    """`[{"step", "component", "was", "is", "rows"}]` for calls the ledger cannot answer.

    `slugs` names the principles now in force by principle id. A row's cause is the first that
    applies:
    new prompt, model, principle (its words, or another assigned), examples, settings, length limit;
    and where none does, what it builds on changed (upstream).
    """
    if not calls:
        return []
    latest = _latest(ledger, calls)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for position, call in enumerate(calls):
        counts[(call.step, *_cause(call, latest.get(position), slugs))] += 1
    return [
        {"step": step, "component": component, "was": was, "is": now, "rows": rows}
        for (step, component, was, now), rows in counts.most_common()
    ]


def _latest(ledger: Ledger, calls: Sequence[Call]) -> dict[int, Row]:
    if not ledger.exists:
        return {}
    wanted = pa.table(
        {
            "position": list(range(len(calls))),
            "prompt_id": [call.prompt_id for call in calls],
            "step": [call.step for call in calls],
            "round": pa.array([call.round for call in calls], pa.int32()),
        }
    )
    with ledger.transaction() as con:
        con.register("wanted", wanted)
        cursor = con.execute(LATEST)
        names = [column[0] for column in cursor.description or []]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        con.unregister("wanted")
    return {row["position"]: row for row in found}


def _cause(call: Call, before: Row | None, slugs: dict[str, str]) -> tuple[str, str, str]:
    if before is None:
        return "prompt", "(none)", "new"
    if before["completion_id"] == call.completion_id:
        return "max_new_tokens", "cut", str(call.sampling.max_new_tokens)
    if before["model_id"] != call.model_id:
        return "model", before["model_id"], call.model_id
    if call.principle_id and before["principle_id"] != call.principle_id:
        slug = slugs.get(call.principle_id, call.principle_id)
        if before["slug"] == slug:
            return f"principle:{slug}", before["principle_id"], call.principle_id
        return "assignment", str(before["slug"]), slug
    sampled = (call.sampling.temperature, call.sampling.top_p)
    if (before["temperature"], before["top_p"]) != sampled:
        return (
            "sampling",
            f"{before['temperature']:g}/{before['top_p']:g}",
            "{:g}/{:g}".format(*sampled),
        )
    return "upstream", "(other text)", "(new text)"
