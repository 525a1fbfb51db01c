"""Why a call has no answer yet: what differs from the last call in the same place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from storage.ledger import Ledger, Row
from tasks.generation.calls import Call

# The latest completion in the same place: same step and round of the same prompt.
LATEST = """
    SELECT w.position, c.completion_id, c.cut_at, c.model_id, c.principle_id, c.few_shot_id,
           c.temperature, c.top_p, p.slug
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = w.step
        AND c.round IS NOT DISTINCT FROM w.round
    LEFT JOIN principles p ON p.principle_id = c.principle_id
    QUALIFY row_number() OVER (PARTITION BY w.position ORDER BY c.created_at DESC) = 1
"""


def causes(
    ledger: Ledger, calls: Sequence[Call], slugs: dict[str, str], roots: dict[str, str]
) -> list[dict[str, Any]]:
    """`[{"step", "component", "was", "is", "rows", "root"}]` for calls the ledger cannot answer.

    `slugs` names the principles now in force by principle id. A row's cause is the first that
    applies: nothing to compare with, length limit, model, principle (its words, or another
    assigned), worked examples, sampling, system message; where none does, what the row builds on
    changed (upstream). `roots` keeps each prompt's first cause, by prompt id, from call to call.
    """
    if not calls:
        return []
    latest = _latest(ledger, calls)
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    for position, call in enumerate(calls):
        component, was, is_now = _cause(call, latest.get(position), slugs)
        root = roots.setdefault(call.prompt_id, component)
        counts[(call.step, component, was, is_now, root)] += 1
    names = ("step", "component", "was", "is", "root")
    return [
        {**dict(zip(names, cause, strict=True)), "rows": rows}
        for cause, rows in counts.most_common()
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
    """(component, was, is)."""
    if before is None:
        return ("prompt" if call.step == "draft" else "step"), "(none)", "new"
    if before["completion_id"] == call.completion_id:
        limit = "max_prompt_tokens" if before["cut_at"] == -1 else "max_new_tokens"
        return limit, "too small", str(getattr(call.sampling, limit))
    if before["model_id"] != call.model_id:
        return "model", before["model_id"], call.model_id
    if call.principle_id and before["principle_id"] != call.principle_id:
        slug = slugs.get(call.principle_id, call.principle_id)
        if before["slug"] == slug:
            return f"principle:{slug}", before["principle_id"], call.principle_id
        return "assignment", str(before["slug"]), slug
    if before["few_shot_id"] != call.few_shot_id:
        return "examples", str(before["few_shot_id"]), str(call.few_shot_id)
    sampled = (call.sampling.temperature, call.sampling.top_p)
    if (before["temperature"], before["top_p"]) != sampled:
        was = f"{before['temperature']:g}/{before['top_p']:g}"
        return "sampling", was, "{:g}/{:g}".format(*sampled)
    if call.step == "draft":  # the prompt is the same, so what stands before it is not
        return "system", "(another)", call.messages[0]["content"]
    return "upstream", "(other text)", "(new text)"
