"""Lineage is a query over the foreign keys: up to what made a thing, down to what it made."""

from __future__ import annotations

import json
from typing import Any, Literal

from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Connection, Ledger, Row, rows

Direction = Literal["up", "down"]

WALK = {
    "up": """
        WITH RECURSIVE reached(id) AS (
            SELECT unnest(?::VARCHAR[])
            UNION SELECT e.parent_id FROM reached r JOIN lineage_edges e ON e.child_id = r.id
        ) SELECT DISTINCT e.child_id AS child, e.parent_id AS parent, e.role
          FROM reached r JOIN lineage_edges e ON e.child_id = r.id""",
    "down": """
        WITH RECURSIVE reached(id) AS (
            SELECT unnest(?::VARCHAR[])
            UNION SELECT e.child_id FROM reached r JOIN lineage_edges e ON e.parent_id = r.id
        ) SELECT DISTINCT e.child_id AS child, e.parent_id AS parent, e.role
          FROM reached r JOIN lineage_edges e ON e.parent_id = r.id""",
}

MADE = """
    SELECT checkpoint_id AS id, stage AS label, components, c.path, run_id, git_commit,
           c.constitution_id, name AS constitution, duration_s, c.created_at::VARCHAR AS created_at
    FROM checkpoints c LEFT JOIN runs USING (run_id)
    LEFT JOIN constitutions k ON k.constitution_id = c.constitution_id"""

# What a reader wants to see of a row, by kind of id.
DETAILS = {
    "principle": "SELECT principle_id AS id, slug AS label, title, critique, revision"
    " FROM principles",
    "constitution": "SELECT constitution_id AS id, name AS label, version, path FROM constitutions",
    "prompt": "SELECT prompt_id AS id, messages->-1->>'content' AS label, category, source"
    " FROM prompts",
    "few_shot": "SELECT few_shot_id AS id, 'worked examples' AS label, messages FROM few_shots",
    "model": "SELECT model_id AS id, reference AS label, kind AS model_kind FROM models",
    "completion": "SELECT completion_id AS id, text AS label, step, round, model_id, request,"
    " finish_reason, temperature, top_p, run_id FROM completions",
    "revision": "SELECT revision_id AS id, 'round ' || round AS label, round, principle_id,"
    " prompt_id FROM revisions",
    "example": "SELECT example_id AS id, response AS label, prompt_id FROM examples",
    "pair": "SELECT pair_id AS id, chosen AS label, rejected, prompt_id, preference FROM pairs",
    "dataset": "SELECT dataset_id AS id, kind AS label, row_count, held_out_count FROM datasets",
    "checkpoint": MADE,
    "evaluation": MADE,
}
LABEL_CHARS = 80
DETAILED_NODES = 2000


def find(ledger: Ledger, name: str) -> list[str]:
    """The ids a person may mean by `name`: an id, the start of one, a ref, or a principle's slug.

    A slug names every version of that principle. Raises InputError where nothing or two things fit.
    """
    by_ref = ledger.query("SELECT target_id AS id FROM refs WHERE name = ?", [name])
    if by_ref:
        return [by_ref[0]["id"]]
    by_slug = ledger.query("SELECT principle_id AS id FROM principles WHERE slug = ?", [name])
    if by_slug:
        return [row["id"] for row in by_slug]
    kind = kind_of(name)
    matches = _starting_with(ledger, kind, name) if kind in DETAILS else []
    if len(matches) == 1:
        return matches
    rule = "several ids begin so" if matches else "no id, ref or principle has this name"
    raise InputError(name, rule, "give an id from a run's output, a ref as latest/ppo, or a slug")


def _starting_with(ledger: Ledger, kind: str | None, start: str) -> list[str]:
    sql = f"SELECT DISTINCT id FROM ({DETAILS[kind or '']}) WHERE starts_with(id, ?) LIMIT 3"
    return [row["id"] for row in ledger.query(sql, [start])]


def trace(ledger: Ledger, name: str, direction: Direction) -> dict[str, Any]:
    """`{"id", "kind", "edges", "nodes", "counts"}` of everything up or down from `name`.

    Edges are `{"child", "parent", "role"}`; nodes carry kind, label and the facts of their row
    (only id and kind past the first 2,000 rows of a kind); counts are per kind, `name` left out.
    """
    starts = find(ledger, name)
    with ledger.transaction() as con:
        edges = rows(con, WALK[direction], [starts])
        ids = dict.fromkeys(starts)
        for edge in edges:
            ids[edge["child"]] = ids[edge["parent"]] = None
        nodes = _nodes(con, list(ids))
    counts: dict[str, int] = {}
    for row_id in ids:
        if row_id not in starts:
            kind = kind_of(row_id) or "other"
            counts[kind] = counts.get(kind, 0) + 1
    return {
        "id": starts[0],
        "kind": kind_of(starts[0]),
        "edges": edges,
        "nodes": nodes,
        "counts": dict(sorted(counts.items())),
    }


def _nodes(con: Connection, ids: list[str]) -> dict[str, Row]:
    by_kind: dict[str, list[str]] = {}
    for row_id in ids:
        by_kind.setdefault(kind_of(row_id) or "other", []).append(row_id)
    nodes: dict[str, Row] = {}
    for kind, members in by_kind.items():
        for row_id in members:
            nodes[row_id] = {"kind": kind, "label": row_id[:12]}
        if kind in DETAILS:
            shown = members[:DETAILED_NODES]
            sql = f"SELECT * FROM ({DETAILS[kind]}) WHERE id IN (SELECT unnest(?::VARCHAR[]))"
            for row in rows(con, sql, [shown]):
                nodes[row["id"]] = {"kind": kind, **_readable(row)}
    return nodes


def _readable(row: Row) -> Row:
    found = {name: value for name, value in row.items() if name != "id" and value is not None}
    label = " ".join(str(found.get("label", "")).split())
    found["label"] = label if len(label) <= LABEL_CHARS else label[: LABEL_CHARS - 1] + "…"
    if "components" in found:
        found["components"] = json.loads(found["components"])
    return found
