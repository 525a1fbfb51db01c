"""What a run leaves in Prefect's UI. The flow publishes, not its tasks: a hit publishes as well.

Text from models and data is escaped: the UI renders descriptions, reports and the cells of tables
as Markdown.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.run.progress import key_of, log
from flows.run.session import Session
from storage.artifacts import artifact_path
from storage.ids import short
from storage.ledger import Row
from tasks.evaluation.escape import markdown_cell
from tasks.generation import teaching_text
from tasks.generation.snapshots import Rows

PAGES = "/solon"  # where the servers of a workspace have its own pages
# What the UI's table of a run has, by what its results call it: as wide as a page.
STEP_COLUMNS = {
    "step": "step",
    "reused": "reused",
    "generated": "generated",
    "left out": "excluded",
    "trained": "trained",
    "seconds": "duration_s",
    "id": "id",
}
SAMPLES = 6
SAMPLE_CHARS = 300
SAMPLE = """
    SELECT p.messages, x.rejected, x.chosen, x.source, l.said, r.principle
    FROM wanted
    JOIN pairs x USING (pair_id)
    JOIN prompts p ON p.prompt_id = x.prompt_id
    LEFT JOIN (
        SELECT pair_id, string_agg(DISTINCT given_by || ' on ' || slug, ', ') AS said
        FROM labels JOIN principles USING (principle_id) GROUP BY pair_id
    ) l USING (pair_id)
    LEFT JOIN (
        SELECT x.pair_id, min(slug) AS principle
        FROM wanted JOIN pairs x USING (pair_id)
        JOIN revisions USING (revision_id)
        JOIN principles USING (principle_id) GROUP BY x.pair_id
    ) r USING (pair_id)
    ORDER BY x.pair_id"""
PICTURE = re.compile(r"!\[((?:\\.|[^\]\\])*)\]\(([\w-]+)\.svg\)")

IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}


def publish_markdown(
    key: str, text: str, shows: str, recipe: str, run_id: str | None = None
) -> None:
    """Show a Markdown text, described by what it shows (or its verdict), recipe and run."""
    said = described(shows, recipe, run_id)
    create_markdown_artifact(text, key=key_of(recipe, key), description=said)


def described(shows: str, recipe: str, run_id: str | None = None) -> str:
    run = f", {short(run_id)}" if run_id else ""
    return f"{markdown_cell(shows)} (recipe {markdown_cell(recipe)}{run})"


def publish_samples(session: Session, rows: Rows) -> None:
    """What the pairs teach, and a few of them, chosen by their ids, which are hashes: not
    hand-picked. Paragraphs, as a table does not fit a phone.
    """
    wanted = {"pair_id": list(rows.preferences.training[:SAMPLES])}
    found = session.ledger.query(SAMPLE, wanted=wanted)
    of_run = session.recipe.name, session.run_id
    if found:
        text, shows = "\n".join(_samples(found)) + "\n", f"{len(found)} pairs"
        publish_markdown("samples", text, shows, *of_run)
    headline, *hints = map(markdown_cell, teaching_text.lines(rows.teaching.to_json()))
    text = "\n".join([headline, "", *(f"- {hint}" for hint in hints)]) + "\n"
    publish_markdown("teaching", text, headline, *of_run)
    if found and _has_pages(session):
        link, shows = f"{PAGES}/review?recipe={session.recipe.name}", "Pairs for people to review"
        create_link_artifact(
            link,
            "Review pairs",
            key=key_of(session.recipe.name, "review-page"),
            description=described(shows, *of_run),
        )


def _has_pages(session: Session) -> bool:
    """Whether the server is the workspace's own, which has its pages."""
    return os.environ.get("PREFECT_HOME") == str(session.workspace.prefect)


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    yield f"Pairs of this run, each text cut at {SAMPLE_CHARS} characters."
    for row in rows:
        texts = json.loads(row["messages"])[-1]["content"], row["rejected"], row["chosen"]
        prompt, rejected, chosen = (markdown_cell(text, SAMPLE_CHARS) for text in texts)
        made = row["source"] + (f" under {row['principle']}" if row["principle"] else "")
        said = row["said"] or "nothing but its source"
        yield from ("", f"**{prompt}**", "", f"rejected: {rejected}", "", f"chosen: {chosen}", "")
        yield f"Made by {markdown_cell(made)}; said better by {markdown_cell(said)}."


def publish_run(
    session: Session,
    steps: list[dict[str, Any]],
    checkpoints: Mapping[str, str],
    report: Path | None,
    origins: str | None,
) -> None:
    """What was reused, generated and trained; curves, lineage, and the report with its pictures."""
    of_run = session.recipe.name, session.run_id
    sums = {name: sum(step[name] for step in steps) for name in ("reused", "generated", "trained")}
    shows = "By step: " + ", ".join(f"{count} {name}" for name, count in sums.items())
    log(shows)
    table = [{name: step[own] for name, own in STEP_COLUMNS.items()} for step in steps]
    table = [row | {"id": short(row["id"] or "")} for row in table]
    own = partial(key_of, session.recipe.name)
    create_table_artifact(table, key=own("steps"), description=described(shows, *of_run))
    for stage, checkpoint_id in checkpoints.items():
        picture = artifact_path(session.workspace, checkpoint_id) / "loss.png"
        shows = f"The loss of {stage} in training {short(checkpoint_id)}"
        publish_picture(picture, own(f"loss-{stage}"), described(shows, *of_run))
    if origins:
        last = short(list(checkpoints.values())[-1])
        text = f"{origins}\n`solon why {last}` says more.\n"
        publish_markdown("lineage", text, f"What {last} was made from", *of_run)
    if report is None:
        return
    page = f"{PAGES}/reports/{report.parent.name}"
    link = page if _has_pages(session) else report.as_uri()
    _publish_report(report, link, *of_run)


def _publish_report(page: Path, link: str, recipe: str, run_id: str) -> None:
    """A link to the page, and its Markdown with its pictures."""
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    verdict = text.partition("\n")[0].removeprefix("# ")
    said = f"{verdict} (recipe {markdown_cell(recipe)}, {short(run_id)})"
    own = partial(key_of, recipe)
    create_link_artifact(link, str(page), key=own("report-page"), description=said)
    shown = PICTURE.sub(lambda found: _shown(found[1], page.with_name(f"{found[2]}.svg")), text)
    create_markdown_artifact(shown, key=own("report"), description=said)


def publish_picture(picture: Path, key: str, description: str) -> None:
    """As Markdown: below an image artifact the UI writes its whole address, which holds it."""
    if picture.is_file():
        create_markdown_artifact(_shown(description, picture), key=key, description=description)


def _shown(says: str, picture: Path) -> str:
    """A picture's Markdown with the picture in it, as no file of ours has an address there."""
    data = base64.b64encode(picture.read_bytes()).decode()
    return f"![{says}](data:{IMAGES[picture.suffix]};base64,{data})"
