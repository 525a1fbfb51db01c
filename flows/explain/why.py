"""The story of one row: what made it, step by step, and why it was generated when it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from flows.explain.compare.words import difference
from flows.explain.past import Change, Link, Past
from flows.plan.causes import RENDERED, Cause
from storage.ids import kind_of
from storage.ledger import Connection, Row, rows

ROWS = {
    "completion": "SELECT completion_id, prompt_id, round FROM completions"
    " WHERE completion_id = ? LIMIT 1",
    "revision": "SELECT * FROM revisions WHERE revision_id = ?",
    "pair": "SELECT * FROM pairs WHERE pair_id = ?",
    "example": "SELECT * FROM examples WHERE example_id = ?",
}
# The columns of the completion that a row's text is, of that text, and of where it was cut.
OWN = {
    "pair": ("chosen_completion_id", "chosen", "chosen_cut_at"),
    "example": ("completion_id", "response", "cut_at"),
}
LABELS = """
    SELECT DISTINCT given_by, slug, rule, l.preference, is_turned, comparison_id,
           m.reference AS model, v.author, v.created_at::VARCHAR AS said_at, v.note
    FROM labels l LEFT JOIN principles USING (principle_id)
    LEFT JOIN comparisons c USING (comparison_id) LEFT JOIN models m ON m.model_id = c.model_id
    LEFT JOIN verdicts v USING (verdict_id)
    WHERE l.pair_id = ? AND NOT coalesce(v.is_undone, false)
    ORDER BY given_by, slug, said_at
"""
FACTS = ("step", "round", "completion_id", "text", "finish_reason", "cut_at")
SAMPLING = ("temperature", "top_p", "sample_index")
TRAINED = """
    SELECT d.component, d.was, d.is_now AS "is" FROM checkpoints c JOIN decisions d USING (run_id)
    WHERE c.checkpoint_id = ? AND d.subject_id = c.checkpoint_id AND d.verdict = 'MISS'
    ORDER BY d.number
"""


JUDGED = """
    SELECT policy, metric, is_passed, reason, evaluation_id FROM gates
    WHERE evaluation_id = $1 OR (checkpoint_id = $1 AND evaluation_id = (
        SELECT evaluation_id FROM gates WHERE checkpoint_id = $1 ORDER BY created_at DESC LIMIT 1))
    ORDER BY number"""


def story(con: Connection, row_id: str) -> dict[str, Any] | None:
    """How a completion, revision, pair or example came to be; None for every other id.

    `{"prompt", "row", "links", "why"}`: the facts of the prompt and of the row itself; one link a
    model call, in order, with its request, text, model, sampling, run and cause; and why the last
    of them was generated in that run: cause, root cause, and word-level differences of the request
    and of a principle that changed, as `[{"kind": "same"|"removed"|"added", "text"}]`.
    """
    kind = kind_of(row_id) or ""
    found = rows(con, ROWS[kind], [row_id]) if kind in ROWS else []
    if not found:
        return None
    past = Past(con, found[0]["prompt_id"])
    chain, revision = _chain(past, kind, found[0])
    told = [past.changes(chain[: n + 1]) for n in range(len(chain))]
    return {
        "prompt": past.prompt | {"messages": json.loads(past.prompt["messages"] or "[]")},
        "row": _row(con, kind, found[0], revision, chain),
        "links": [_link(own.link, own.cause) for own, _ in told],
        "why": _why(*told[-1]) if told else None,
    }


def retrained(con: Connection, row_id: str) -> list[dict[str, str | None]]:
    """What differed from the checkpoint in use when this one was made.

    `[{"component", "was", "is"}]`: all None where none was in use; empty for every other id, and
    for a checkpoint of which the run that made it noted nothing.
    """
    return rows(con, TRAINED, [row_id])


def judged(con: Connection, row_id: str) -> list[Row]:
    """What the last evaluation of a checkpoint says of promoting it, or what an evaluation says.

    `[{"policy", "metric", "is_passed", "reason", "evaluation_id"}]`; empty for every other id.
    """
    return rows(con, JUDGED, [row_id])


def _chain(past: Past, kind: str, row: Row) -> tuple[list[Link], Row | None]:
    """The chain behind a row, and the row of `revisions` that gave it."""
    if kind == "completion":
        return past.chain(row["completion_id"]), None
    if kind == "revision":
        return past.chain_of(row), row
    column, text, cut_at = OWN[kind]
    revision = past.maker(f"{kind}_id", row[f"{kind}_id"], row[column], row["revision_id"])
    if revision:
        return past.chain_of(revision, row[text]), revision
    return past.chain(row[column] or "", shown_in=row[text], cut_at=row[cut_at]), None


def _row(
    con: Connection, kind: str, row: Row, revision: Row | None, chain: list[Link]
) -> dict[str, Any]:
    """The row's own facts; of a pair, what each response is, and who says that one is better."""
    if kind in ("completion", "revision"):
        return {"kind": kind, "round": row["round"]}
    shown = {"kind": kind, "source": row["source"]}
    if kind == "example":
        return shown | {"response": row["response"]}
    round_ = revision["round"] if revision else None
    place = ("critique", round_, None, 0)
    critique = [link.row for link in chain if revision and link.place == place]
    return shown | {
        "preference": row["preference"],
        **{side: _side(con, row, side) for side in ("chosen", "rejected")},
        "labels": [_label(found) for found in rows(con, LABELS, [row["pair_id"]])],
        "round": round_,
        "principle": _principle(critique[0]) if critique else None,
        "critique": critique[0]["text"] if critique else None,
    }


def _side(con: Connection, row: Row, side: str) -> dict[str, Any]:
    """A pair's response, and the step that made it."""
    found = row[f"{side}_completion_id"]
    steps = rows(con, "SELECT step FROM completions WHERE completion_id = ? LIMIT 1", [found])
    step = steps[0]["step"] if steps else None
    return {"completion_id": found, "step": step, "text": row[side]}


def _label(row: Row) -> dict[str, Any]:
    return row | {"rule": json.loads(row["rule"]) if row["rule"] else None}


def _principle(row: Row) -> dict[str, Any] | None:
    found = {"id": row["principle_id"], "slug": row["slug"]}
    return found if row["principle_id"] else None


def _link(link: Link, cause: Cause) -> dict[str, Any]:
    row = link.row
    return {name: row[name] for name in FACTS} | {
        "principle": _principle(row),
        "request": link.request,
        "messages_before": len(link.messages) - 1,
        "worked_examples": len(json.loads(row["worked"] or "[]")) // 2,
        "model": {"id": row["model_id"], "reference": row["reference"]},
        **{name: row[name] for name in SAMPLING},
        "run": {"id": row["run_id"], "recipe": row["recipe"]},
        "created_at": str(row["created_at"]),
        "cause": _cause(cause),
    }


def _cause(cause: Cause) -> dict[str, str]:
    return {"component": cause.component, "was": cause.was, "is": cause.is_now}


def _why(own: Change, root: Change) -> dict[str, Any]:
    before = own.before
    if before is None:
        return {"is_first": True, **_cause(own.cause)}
    step, round_, *_ = root.link.place
    return {
        "is_first": False,
        **_cause(own.cause),
        "root": {"step": step, "round": round_, **_cause(root.cause)},
        "before": {
            "completion_id": before.row["completion_id"],
            "run_id": before.row["run_id"],
            "created_at": str(before.row["created_at"]),
        },
        "request_difference": _pieces(_whole_request(before), _whole_request(own.link)),
        "principle_difference": _principle_difference(root),
    }


def _whole_request(link: Link) -> str:
    """All messages but the worked examples: a system message may be what differs."""
    if len(link.messages) == 1:
        return link.request
    return "\n\n".join(f"{m['role']}: {m['content']}" for m in link.messages)


def _principle_difference(root: Change) -> dict[str, Any]:
    """The texts of the principle that differ, by field, where the root cause is its words: of those
    that the step's request shows.
    """
    if root.before is None or not root.cause.component.startswith("principle:"):
        return {}
    was, is_now = root.before.row, root.link.row
    fields = [n for n in RENDERED.get(is_now["step"], ()) if was[n] != is_now[n]]
    return {name: _pieces(was[name] or "", is_now[name] or "") for name in fields}


def _pieces(before: str, after: str) -> list[dict[str, str]]:
    return [asdict(piece) for piece in difference(before, after)]
