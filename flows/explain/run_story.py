"""What a run was asked for, what it reused and made, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.explain.compare.text import one_line
from flows.explain.show import because
from storage.errors import InputError
from storage.ids import short
from storage.ledger import Ledger, Row
from storage.lookup import names_like
from storage.nearest import meant

LINE_CHARS = 200
RUN = """
    SELECT run_id, recipe, until, state, message, constitution_id, git_commit, machine, started_at,
           ended_at FROM runs WHERE starts_with(run_id, ?) LIMIT 2"""
DECISIONS = """
    SELECT step, verdict, subject_id, component, was, is_now AS "is",
           sum(row_count)::BIGINT AS rows
    FROM decisions WHERE run_id = ? GROUP BY ALL ORDER BY min(number)"""
VERDICTS = {"HIT": "reused", "MISS": "made", "CUTOFF": "the same as before", "FORCED": "made anew"}


def run_story(ledger: Ledger, run_id: str) -> dict[str, Any]:
    """{"id", "kind", "run", "decisions"} of the run whose id begins so.

    Raises InputError where none or several do.
    """
    found = ledger.query(RUN, [run_id])
    if len(found) != 1:
        rule = "several runs begin so" if found else "no run has this id"
        fix = meant(run_id, names_like(ledger, run_id), "see solon runs")
        raise InputError(run_id, rule, fix, "ID")
    (run,) = found
    decided = ledger.query(DECISIONS, [run["run_id"]])
    return {"id": run["run_id"], "kind": "run", "run": run, "decisions": decided}


def run_story_lines(told: dict[str, Any]) -> Iterator[str]:
    run = told["run"]
    until = f", until {run['until']}" if run["until"] else ""
    yield f"{short(run['run_id'])} of recipe {run['recipe']}{until}: {run['state']}"
    yield f"  began {run['started_at'].astimezone():%Y-%m-%d %H:%M}{_seconds(run)}"
    if run["message"]:
        yield "  " + one_line(run["message"], LINE_CHARS)
    commit = f"; code {run['git_commit'][:12]}" if run["git_commit"] else ""
    yield f"  constitution {short(run['constitution_id'] or 'unknown')}{commit}"
    for decided in told["decisions"]:
        yield one_line(_decided(decided), LINE_CHARS)
    yield f"more: solon report {short(run['run_id'])}"


def _decided(row: Row) -> str:
    subject = short(row["subject_id"]) if row["subject_id"] != row["step"] else str(row["rows"])
    verdict = VERDICTS.get(row["verdict"], row["verdict"].lower())
    why = f" {because(row['component'], row['was'], row['is'])}" if row["component"] else ""
    return f"{row['step']}: {subject} {verdict}{why}"


def _seconds(run: Row) -> str:
    ended = run["ended_at"]
    return f", took {(ended - run['started_at']).total_seconds():.0f} s" if ended else ""
