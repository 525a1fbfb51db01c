"""Trials of a principle as people see them: before and after, with and without."""

from __future__ import annotations

from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from flows.explain.ablation import numbers
from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import Piece, difference, has_colours, in_terminal

PROMPT_CHARS = 200


def preview_table(row: dict[str, Any]) -> Table:
    """One prompt: draft, critique and revision, before on the left and after on the right."""
    table = Table(
        title=Text(one_line(row["prompt"], PROMPT_CHARS), style="bold"),
        title_justify="left",
        show_lines=True,
        expand=True,
    )
    before, after = row["before"], row["after"]
    table.add_column("before" if before is None else f"before: {before['principle']}", ratio=1)
    table.add_column(f"after: {after['principle']}", ratio=1)
    draft = Text("draft: " + visible(row["response"]), style="dim")
    table.add_row(draft, draft)
    for part in ("critique", "revision"):
        was = before[part] if before else ""
        pieces = difference(was, after[part])
        left = _side(pieces, "removed") if before else Text("(nothing yet)", style="dim")
        right = _side(pieces, "added") if before else Text(visible(after[part]))
        table.add_row(_titled(part, left), _titled(part, right))
    return table


def ablation_table(result: dict[str, Any]) -> Table:
    """A row a policy and metric: with the principle's rows, without, and the difference."""
    table = Table(title=Text(f"what {result['slug']} bought"), title_justify="left")
    for name in ("policy", "metric", "with", "without", "difference (95 %)", "prompts"):
        table.add_column(name, justify="left" if name in ("policy", "metric") else "right")
    for row in result["metrics"]:
        table.add_row(row["policy"], row["metric"], *numbers(row), str(row["n"]))
    return table


def _titled(part: str, text: Text) -> Text:
    return Text(f"{part}: ", style="dim").append_text(text)


def _side(pieces: list[Piece], own: Literal["removed", "added"]) -> Text:
    """One side of a difference: what both have, and what only this one has, marked."""
    return in_terminal([p for p in pieces if p.kind in ("same", own)], has_colours())
