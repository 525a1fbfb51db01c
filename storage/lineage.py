"""Lineage is a query over the foreign keys: up to what made a thing, down to what it made."""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

from storage.ids import kind_of
from storage.ledger import Connection, Ledger, Row, rows
from storage.lineage_walk import EDGES, HOMES, KINDS, MANY, Direction, Walk, table_kind
from storage.lookup import opened

MADE = """
    SELECT checkpoint_id AS id, stage AS label, components, c.path, run_id, runs.git_commit,
           c.constitution_id, name AS constitution, duration_s, c.created_at::VARCHAR AS created_at
    FROM checkpoints c LEFT JOIN runs USING (run_id)
    LEFT JOIN constitutions k ON k.constitution_id = c.constitution_id"""

# What a reader wants to see of a row, by kind: columns of its table.
DETAILS = {
    "principle": "slug AS label, critique, revision",  # a title names no version
    "constitution": "name AS label, version, path, git_commit, git_author",
    "prompt": "messages->-1->>'content' AS label, category, source",
    "few_shot": "'worked examples' AS label, messages",
    "model": "reference AS label, kind AS model_kind",
    "completion": "text AS label, step, round, model_id, request, finish_reason, temperature,"
    " top_p, run_id",
    "revision": "'round ' || round AS label, round, principle_id, prompt_id",
    "comparison": "coalesce(round(preference, 3)::VARCHAR, 'none') AS label, method, forward,"
    " backward, preference, principle_id, prompt_id, model_id",
    "example": "response AS label, prompt_id",
    "pair": "chosen AS label, rejected, prompt_id, preference",
    "dataset": "kind AS label, row_count, held_out_count",
    "set": "source AS label, kind AS set_kind, path, digest, licence, ratio",
}
LABEL_CHARS = 80
DETAILED_NODES = 2000
BOX_FROM = 9  # so many of a kind are one box of a chart


def trace(
    ledger: Ledger, name: str, direction: Direction, fan_out: int | None = None
) -> dict[str, Any]:
    """`traced` of what `name` means, in a transaction of its own."""
    with opened(ledger, name) as (con, starts):
        return traced(con, starts, direction, fan_out)


def summary(con: Connection, starts: list[str], direction: Direction) -> dict[str, Any]:
    """`{"id", "kind", "nodes", "counts"}` of everything up or down from `starts`.

    Counts are per kind, `starts` left out. Nodes are `starts` and those of the kinds with few rows
    (principles, models, snapshots, checkpoints), with kind, label and the facts of their row; up,
    models with the `steps` that they did.
    """
    walk = Walk(con, starts, direction)
    ids = dict.fromkeys(starts) | dict.fromkeys(_few(walk))
    nodes = _nodes(con, list(ids))
    _add_steps(walk, nodes)
    return _head(starts) | {"nodes": nodes, "counts": _counts(walk, starts)}


def traced(
    con: Connection, starts: list[str], direction: Direction, fan_out: int | None = None
) -> dict[str, Any]:
    """`{"id", "kind", "edges", "nodes", "counts", "truncated"}` up or down from `starts`.

    As `summary`, with every node (only id and kind past the first 2,000 of a kind) and edges as
    `{"child", "parent", "role"}`. With `fan_out`, where a step of the walk leads to more than so
    many rows of a kind with many, it is followed to so many of them: nodes and edges are then a
    part ("truncated"), with all edges between those nodes. The counts are always those of all.
    """
    shown = walk = Walk(con, starts, direction)
    counts = _counts(walk, starts)
    is_cut = fan_out is not None and any(counts.get(kind, 0) > fan_out for kind in MANY)
    if is_cut:  # the same walk to few rows of the kinds with many, and to all of the others
        shown = Walk(con, starts, direction, fan_out, "shown")
        for kind in set(KINDS) - MANY:
            table = f"CREATE OR REPLACE TEMP TABLE {shown.table(kind)}"
            con.execute(f"{table} AS FROM {walk.table(kind)}")
    unique = {(edge["child"], edge["parent"], edge["role"]): edge for edge in _edges(shown)}
    ids = dict.fromkeys([*starts, *_few(walk)])
    ids |= dict.fromkeys(end for child, parent, _ in unique for end in (child, parent))
    nodes = _nodes(con, list(ids))
    _add_steps(walk, nodes)
    found = {"edges": list(unique.values()), "nodes": nodes, "counts": counts}
    return _head(starts) | found | {"truncated": is_cut}


def _add_steps(walk: Walk, nodes: dict[str, Row]) -> None:
    """Say of the models above what they did: the steps of completions, `comparison` of a judge."""
    if walk.direction == "down":
        return
    completions, comparisons = (walk.has(k, f"{k}_id") for k in ("completion", "comparison"))
    found = rows(
        walk.con,
        "SELECT model_id, list(step ORDER BY first, step) AS steps FROM ("
        f" SELECT model_id, step, min(created_at) AS first FROM completions WHERE {completions}"
        " GROUP BY ALL UNION ALL"
        " SELECT model_id, 'comparison', min(created_at) FROM comparisons"
        f" WHERE {comparisons} GROUP BY ALL) GROUP BY model_id",
    )
    for row in found:
        nodes[row["model_id"]]["steps"] = row["steps"]


def boxes(con: Connection, starts: list[str], direction: Direction) -> dict[str, Any]:
    """A trace drawn together: a kind with more than eight members is one node, its kind its id.

    `{"id", "kind", "edges", "nodes", "counts"}`; a node that stands for many has a "count". The
    starts keep nodes of their own.
    """
    walk = Walk(con, starts, direction)
    counts = _counts(walk, starts)
    many = {kind for kind, count in counts.items() if count >= BOX_FROM}
    alone = {table_kind(row_id) for row_id in starts}

    def box(row_id: str) -> str:
        kind = kind_of(row_id)
        return kind if kind in many and row_id not in starts else row_id

    found = _edges(walk, many & MANY, alone)
    edges = {(box(edge["child"]), box(edge["parent"]), str(edge["role"])) for edge in found}
    ids = {end for child, parent, _ in edges for end in (child, parent)} | set(starts)
    nodes = _nodes(con, sorted(ids - many))
    nodes |= {kind: {"kind": kind, "label": kind, "count": counts[kind]} for kind in ids & many}
    drawn = [{"child": c, "parent": p, "role": role} for c, p, role in sorted(edges)]
    return _head(starts) | {"edges": drawn, "nodes": nodes, "counts": counts}


def _head(starts: list[str]) -> dict[str, Any]:
    return {"id": starts[0], "kind": kind_of(starts[0])}


def _few(walk: Walk) -> list[str]:
    """The ids of the kinds with few rows, always in the same order: as the walk came to them."""
    few = (kind for kind in KINDS if kind not in MANY)
    parts = (f"SELECT {n} AS n, wave, key FROM {walk.table(kind)}" for n, kind in enumerate(few))
    found = walk.con.execute(" UNION ALL ".join(parts) + " ORDER BY ALL").fetchall()
    return [key for _, _, key in found]


def _counts(walk: Walk, starts: list[str]) -> dict[str, int]:
    counts = {kind: walk.count(kind) for kind in MANY}
    for row_id in _few(walk):
        kind = kind_of(row_id) or "other"
        counts[kind] = counts.get(kind, 0) + 1
    for row_id in starts:
        counts[kind_of(row_id) or "other"] -= 1
    return {kind: count for kind, count in sorted(counts.items()) if count}


def _edges(walk: Walk, boxed: Set[str] = frozenset(), alone: Set[str] = frozenset()) -> list[Row]:
    """The edges within a walk; a kind of `boxed` stands for all of its rows.

    alone: the kinds of the walk's starts, which no kind stands for.
    """

    def end(kind: str, column: str) -> str:
        if kind not in boxed:
            return column
        if kind not in alone:
            return f"'{kind}'"
        return f"CASE WHEN {walk.is_start(kind, column)} THEN {column} ELSE '{kind}' END"

    found: list[Row] = []
    for edge in EDGES:
        child, parent = edge.ends("up")
        found += rows(
            walk.con,
            f"SELECT DISTINCT {end(*child)} AS child, {end(*parent)} AS parent, {edge.role} AS role"
            f" FROM {edge.table} WHERE {edge.only} AND {walk.has(*child)} AND {walk.has(*parent)}"
            " ORDER BY ALL",
        )
    return found


def _nodes(con: Connection, ids: list[str]) -> dict[str, Row]:
    by_kind: dict[str, list[str]] = {}
    for row_id in ids:
        by_kind.setdefault(kind_of(row_id) or "other", []).append(row_id)
    nodes: dict[str, Row] = {}
    for kind, members in by_kind.items():
        for row_id in members:
            nodes[row_id] = {"kind": kind, "label": row_id[:12]}
        if table_kind(members[0]) in HOMES:
            table, column = HOMES[table_kind(members[0])]
            sql = MADE
            if kind in DETAILS:
                sql = f"SELECT {column} AS id, {DETAILS[kind]} FROM {table}"
            sql += f" WHERE {column} IN (SELECT unnest(?::VARCHAR[]))"
            for row in rows(con, sql, [members[:DETAILED_NODES]]):
                nodes[row["id"]] = {"kind": kind, **_readable(row)}
    return nodes


def _readable(row: Row) -> Row:
    found = {name: value for name, value in row.items() if name != "id" and value is not None}
    label = " ".join(str(found.get("label", "")).split())
    found["label"] = label if len(label) <= LABEL_CHARS else label[: LABEL_CHARS - 1] + "…"
    if "components" in found:
        found["components"] = json.loads(found["components"])
    return found
