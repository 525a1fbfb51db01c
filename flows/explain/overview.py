"""What there is in a workspace: runs and how they ended, projects, champion, bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.explain.compare.text import one_line
from storage.ids import short
from storage.ledger import Ledger, Row
from storage.own_refs import target
from storage.readable import ledger_at
from storage.refs import not_passed
from storage.workspace import Workspace, no_workspace

LINE_CHARS = 200
WIDTH = 80
RUNS = """
    SELECT run_id, recipe, state, until, message, started_at, ended_at FROM runs
    WHERE ? IS NULL OR recipe = ? ORDER BY started_at DESC LIMIT ?"""
PROJECTS = """
    SELECT recipe, count(*) OVER (PARTITION BY recipe) AS runs, started_at, run_id, state, message
    FROM runs QUALIFY row_number() OVER (PARTITION BY recipe ORDER BY started_at DESC) = 1
    ORDER BY started_at DESC"""
CANDIDATE = """
    SELECT settings->'gate'->>'candidate' AS stage FROM runs WHERE recipe = ?
    ORDER BY started_at DESC LIMIT 1"""
WAITING = "SELECT approval_id, asked_at FROM approvals WHERE is_approved IS NULL"
UNITS = ("B", "kB", "MB", "GB", "TB")


def runs(ledger: Ledger, recipe: str | None, count: int) -> list[Row]:
    """The last runs, the newest first."""
    return ledger.query(RUNS, [recipe, recipe, count])


def run_lines(found: list[Row]) -> Iterator[str]:
    """A line a run, its id first; below it why one failed."""
    for run in found:
        until = f", until {run['until']}" if run["until"] else ""
        yield one_line(
            f"{short(run['run_id'])}  {_at(run['started_at'])}  {run['recipe']}{until}:"
            f" {run['state']}{_seconds(run)}",
            LINE_CHARS,
        )
        if run["message"]:
            yield "    " + one_line(run["message"], LINE_CHARS)


def status(ledger: Ledger, workspace: Workspace) -> dict[str, Any]:
    """The workspace in short, as `solon status --json` promises it."""
    projects = [row | standing(ledger, row["recipe"]) for row in ledger.query(PROJECTS)]
    return {
        "workspace": str(workspace.root),
        "exists": ledger.exists,
        "projects": projects,
        "waiting": [row["approval_id"] for row in ledger.query(WAITING)],
        "bytes": {path.name: size_of(path) for path in sorted(workspace.root.glob("*"))},
    }


def standing(ledger: Ledger, recipe: str) -> dict[str, Any]:
    """A recipe's champion, its newest candidate, and what stands in that one's way."""
    own = ledger_at(ledger.path, recipe=recipe)
    stage = next((row["stage"] for row in own.query(CANDIDATE, [recipe])), None) or "ppo"
    candidate = target(own, f"latest/{stage}")
    against = not_passed(own, candidate) if candidate else ""
    return {
        "champion": target(own, "champion"),
        "candidate": candidate,
        "in_its_way": against if candidate else f"no {stage} checkpoint was made yet",
    }


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["exists"]:
        yield no_workspace(found["workspace"])
        return
    of = sorted(found["bytes"].items(), key=lambda each: -each[1])[:4]
    most = ", ".join(f"{name} {human(size)}" for name, size in of)
    yield f"workspace {found['workspace']}: {human(sum(found['bytes'].values()))} ({most})"
    for project in found["projects"]:
        for line in _project(project):
            said, indent = one_line(line, 5 * WIDTH), "  " if line.startswith(" ") else ""
            yield from textwrap.wrap(
                said, WIDTH, initial_indent=indent, subsequent_indent="    ", break_on_hyphens=False
            )
    for approval_id in found["waiting"]:
        yield f"waiting for an answer: {short(approval_id)}; open the run in the UI (solon serve)"


def _project(project: Row) -> Iterator[str]:
    count = f"{project['runs']} run{'s' if project['runs'] != 1 else ''}"
    yield f"project {project['recipe']}: {count}"
    yield f"  {short(project['run_id'])} of {_at(project['started_at'])} {project['state']}"
    if project["message"]:
        yield f"  {project['message']}"
    champion, candidate = project["champion"], project["candidate"]
    yield f"  champion {short(champion or 'none yet')}"
    if candidate and candidate != champion:
        against = project["in_its_way"] or "it passes every gate"
        yield f"  candidate {short(candidate)}: {against}"
    elif project["in_its_way"]:
        yield f"  {project['in_its_way']}"
    yield f"  {_stale(project)}"


def _stale(project: Row) -> str:
    if project.get("problem"):
        return f"cannot run: {project['problem']}"
    steps = ", ".join(project.get("stale") or ()) or "nothing"
    return f"to be made anew: {steps}"


def human(size: float) -> str:
    """Bytes as people say them: "1.3 GB"."""
    power = 0
    while size >= 1000 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.0f} {UNITS[power]}" if power < 2 else f"{size:.1f} {UNITS[power]}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _seconds(run: Row) -> str:
    ended = run["ended_at"]
    return f" after {(ended - run['started_at']).total_seconds():.0f} s" if ended else ""
