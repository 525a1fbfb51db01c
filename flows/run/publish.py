"""What a run leaves in Prefect's UI. The flow publishes, not its tasks: a hit publishes as well.

Text from models and data is escaped: the UI renders descriptions, reports and the cells of tables
as Markdown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.run.session import Session
from storage.artifacts import artifact_path
from storage.ledger import Row
from tasks.evaluation.escape import markdown_cell
from tasks.generation.snapshots import Rows

SAMPLES = 6
SAMPLE_CHARS = 300
SAMPLE = """
    SELECT p.messages, x.rejected AS draft, x.chosen AS revision, min(n.slug) AS principle
    FROM wanted
    JOIN pairs x USING (pair_id)
    JOIN prompts p ON p.prompt_id = x.prompt_id
    JOIN revisions r ON r.pair_id = x.pair_id
    JOIN principles n ON n.principle_id = r.principle_id
    GROUP BY x.pair_id, p.messages, x.rejected, x.chosen
    ORDER BY x.pair_id"""
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w-]+)\.png\)")


def publish_samples(session: Session, rows: Rows) -> None:
    """A few pairs, chosen by their ids, which are hashes: not hand-picked.

    Markdown, as the cells of a table artifact do not wrap.
    """
    wanted = {"pair_id": list(rows.preferences.training[:SAMPLES])}
    found = session.ledger.query(SAMPLE, wanted=wanted)
    if found:
        create_markdown_artifact("\n".join(_samples(found)) + "\n", key="samples")


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    yield f"Pairs of this run, each text cut at {SAMPLE_CHARS} characters."
    for row in rows:
        asked, slug = json.loads(row["messages"])[-1]["content"], markdown_cell(row["principle"])
        texts = (asked, row["draft"], row["revision"])
        prompt, draft, revision = (markdown_cell(text, SAMPLE_CHARS) for text in texts)
        yield from ("", f"**{prompt}**", "", "| draft | revision |", "|---|---|")
        yield from (f"| {draft} | {revision} |", "", f"Principle: {slug}")


def publish_run(
    session: Session,
    steps: list[dict[str, Any]],
    checkpoints: Mapping[str, str],
    report: Path | None,
    chart: str | None,
) -> None:
    """What was reused, generated and trained; curves, lineage, and the report with its pictures."""
    create_table_artifact(
        table=steps, key="steps", description="What was reused, generated, trained"
    )
    for stage, checkpoint_id in checkpoints.items():
        _publish_picture(
            artifact_path(session.workspace, checkpoint_id) / "loss.png", f"loss-{stage}"
        )
    if chart:
        last = list(checkpoints.values())[-1]
        text = f"`solon why {last}` says more.\n\n```mermaid\n{chart}\n```\n"
        name = "What the checkpoint was made from"
        create_markdown_artifact(text, key="lineage", description=name)
    if report is None:
        return
    text = report.read_text(encoding="utf-8")
    create_markdown_artifact(PICTURE.sub(r"*\1: the artifact `\2`*", text), key="report")
    for picture in sorted(report.parent.glob("*.png")):
        _publish_picture(picture, picture.stem)


def _publish_picture(picture: Path, key: str) -> None:
    if picture.is_file():
        content = base64.b64encode(picture.read_bytes()).decode()
        create_image_artifact(f"data:image/png;base64,{content}", key=key)
