"""The rows of a snapshot with all that is known of them, and the forms they are written in.

    trl      prompt, and chosen and rejected or completion, as messages (TRL's conversational form)
    hh       chosen and rejected as transcripts, of pairs only
    parquet  as trl, in tables
    hf       as parquet, in the layout of a data set's repository

Beside them every row has its `id`, `prompt_id`, `split`, `preference` (of pairs) and `FACTS`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pyarrow as pa

from flows.explain.data_report import read
from flows.explain.data_report.evidence import evidence_of
from storage.ledger import Ledger, Row
from tasks.chat.calls import CALLS, said, with_calls
from tasks.generation.teaching import NONE
from tasks.judging.exported import FACTS, member
from tasks.prompts.turns import RowError

FORMATS = ("trl", "hh", "parquet", "hf")
SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
UNWRITABLE = (
    'a paragraph of a turn begins with "Human:" or "Assistant:", or a line ends as on Windows'
)
ROWS = {
    "sft": """
        SELECT e.example_id AS id, e.prompt_id, p.messages, p.category, e.response, e.source,
            r.is_held_out
        FROM dataset_rows r JOIN examples e ON e.example_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ? ORDER BY id""",
    "preferences": """
        SELECT x.pair_id AS id, x.prompt_id, p.messages, p.category, x.chosen, x.rejected,
            x.preference, x.source, r.is_held_out
        FROM dataset_rows r JOIN pairs x ON x.pair_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ? ORDER BY id""",
}
LEARNED_UNDER = """
    SELECT DISTINCT e.example_id AS id, n.slug
    FROM dataset_rows r JOIN examples e ON e.example_id = r.row_id
    JOIN (
        SELECT x.example_id, principle_id FROM examples x JOIN revisions USING (revision_id)
        UNION ALL
        SELECT x.example_id, s.principle_id FROM examples x JOIN completions USING (completion_id)
        JOIN shown_principles s USING (few_shot_id) WHERE x.source = 'distilled'
    ) m USING (example_id)
    JOIN principles n USING (principle_id) WHERE r.dataset_id = ?"""
BROUGHT = """
    SELECT w.row_id AS id, s.ratio, s.kind, w.principle,
        CASE s.kind WHEN 'imported' THEN w.source ELSE s.source END AS source,
        CASE s.kind WHEN 'imported' THEN w.licence ELSE s.licence END AS licence
    FROM dataset_rows r JOIN set_rows w USING (row_id) JOIN sets s USING (set_id)
    WHERE r.dataset_id = ?
    QUALIFY row_number() OVER (PARTITION BY w.row_id ORDER BY s.updated_at DESC, s.set_id) = 1"""
TURN = [("role", pa.string()), ("content", pa.string())]
TURNS = pa.list_(pa.struct(TURN))
SIDES = ("chosen", "rejected", "completion")


def exported_rows(ledger: Ledger, snapshot: Row) -> list[Row]:
    """The rows of a snapshot of pairs or examples, by id, with `split` and `FACTS` as texts."""
    kind, dataset_id = snapshot["kind"], snapshot["dataset_id"]
    found = ledger.query(ROWS[kind], [dataset_id])
    slugs, evidence = _principles(ledger, snapshot)
    sets = {row["id"]: row for row in ledger.query(BROUGHT, [dataset_id])}
    for row in found:
        brought = sets.get(row["id"], {})
        said = slugs.get(row["id"]) or filter(None, [brought.get("principle")])
        row["split"] = "test" if row["is_held_out"] else "train"
        row["category"] = row["category"] or ""
        row["principle"] = ", ".join(sorted(said))
        row["evidence"] = evidence.get(row["id"], "")
        row |= {"set": brought.get("source") or "", "licence": brought.get("licence") or ""}
        row["ratio"] = _ratio(brought)
    return found


def _ratio(brought: Row) -> str:
    """How many rows of a set there are for every one made here; of rows made here nothing."""
    if brought.get("kind") not in ("preferences", "demonstrations"):
        return ""
    return "all" if brought["ratio"] is None else f"{brought['ratio']:g}"


def _principles(ledger: Ledger, snapshot: Row) -> tuple[dict[str, set[str]], dict[str, str]]:
    """By row: the principles that speak for a pair, else those a row was made under; and the kind
    of evidence behind a pair.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    if snapshot["kind"] == "sft":
        for row in ledger.query(LEARNED_UNDER, [snapshot["dataset_id"]]):
            found[row["id"]].add(row["slug"])
        return found, {}
    found |= read.made_under(ledger, snapshot["dataset_id"])
    evidence = {}
    for pair in read.rows_of(ledger, snapshot):
        by = evidence_of(pair.labels)
        evidence[pair.id] = "" if by == NONE else by
        if about := {label.slug for label in pair.labels if label.slug}:
            found[pair.id] = about
    return found, evidence


def as_messages(row: Row) -> dict[str, Any]:
    """The conversational form of TRL: prompt, and chosen and rejected or completion."""
    names = {"response": "completion", "chosen": "chosen", "rejected": "rejected"}
    answers = {
        names[name]: [{"role": "assistant", "content": row[name]}] for name in names if name in row
    }
    prompt = with_calls(json.loads(row["messages"]), as_text=True)
    return {"id": row["id"], "prompt": prompt, **answers, **_known(row)}


def as_transcripts(row: Row) -> dict[str, Any]:
    """The form of hh-rlhf: two transcripts that differ in the last reply.

    A system turn, which hh-rlhf has not, opens them as "System:".
    """
    messages = json.loads(row["messages"])
    spoken = ((SPEAKERS.get(m["role"], "Tool"), said(m)) for m in messages)
    before = "".join(f"\n\n{speaker}: {text}" for speaker, text in spoken)
    sides = {name: f"{before}\n\nAssistant: {row[name]}" for name in ("chosen", "rejected")}
    return {**sides, "id": row["id"], **_known(row)}


def _known(row: Row) -> dict[str, Any]:
    preference = {"preference": row["preference"]} if "preference" in row else {}
    return preference | {name: row[name] for name in ("split", "prompt_id", *FACTS)}


def is_read_again(row: Row) -> bool:
    """Whether the transcripts of a pair are read as the row that they were made of."""
    try:
        member(as_transcripts(row), "", 1)
    except RowError:
        return False
    return True


def table(rows: list[Row]) -> pa.Table:
    """Rows as messages, with the same types whatever they hold; calls of tools are JSON text."""
    shaped = [as_messages(row) | {"prompt": json.loads(row["messages"])} for row in rows]
    has_calls = any(CALLS in turn for row in shaped for turn in row["prompt"])
    asked = pa.list_(pa.struct([*TURN, (CALLS, pa.string())])) if has_calls else TURNS
    types = {name: TURNS if name in SIDES else pa.string() for name in shaped[0]}
    types["prompt"] = asked
    types |= {"preference": pa.float64()} if "preference" in types else {}
    return pa.Table.from_pylist(shaped, schema=pa.schema(list(types.items())))
