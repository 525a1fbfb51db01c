"""Results as text for people: plans, runs, lineage. Plain functions from values to lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from flows.explain.compare.text import one_line
from flows.plan.plan import Plan
from tasks.evaluation.escape import markdown_cell


def plan_table(plan: Plan) -> Table:
    """A row a step: what is reused, what would be generated or trained."""
    table = Table(title="plan", title_justify="left")
    for name in ("step", "reused", "to generate", "to train", "left out"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step in plan.steps.values():
        table.add_row(
            step.step,
            str(step.reused),
            span(step.to_generate),
            span(step.to_train),
            str(step.excluded),
        )
    return table


def plan_lines(plan: Plan) -> Iterator[str]:
    """Why, and what it would cost."""
    if plan.is_empty:
        yield "nothing to do: every row and checkpoint is there"
        return
    for cause in plan.why:
        line = f"{cause['step']}: {cause['rows']} because {cause['component']} changed"
        line += f" ({short(cause['was'])} -> {short(cause['is'])})"
        yield line if cause["root"] == cause["component"] else f"{line}, from {cause['root']}"
    for fallen in plan.falls:
        verb = "falls" if fallen["certain"] else "may fall"
        yield f"{fallen['stage']}: {fallen['id']}, now in use, {verb}"
    cost = plan.cost
    seconds = "no history of seconds on this machine"
    if cost["seconds"] is not None:
        seconds = f"{span(cost['seconds'])} s, {span(cost['gpu_seconds'])} of them on a GPU"
    yield f"cost: {span(cost['calls'])} calls, {span(cost['tokens'])} tokens, {seconds}"


def plan_markdown(plan: Plan) -> str:
    """The plan for a review: what falls, why, and what it costs. Values are escaped."""
    lines = ["| step | reused | to generate | to train | left out |", "|---|---|---|---|---|"]
    for step in plan.steps.values():
        counts = (step.reused, span(step.to_generate), span(step.to_train), step.excluded)
        lines.append(f"| {step.step} | " + " | ".join(str(count) for count in counts) + " |")
    return "\n".join([*lines, "", *(f"- {markdown_cell(line)}" for line in plan_lines(plan))])


def span(low_high: Any) -> str:
    """A range as `7` or `7 to 9`."""
    low, high = low_high
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def short(value: Any) -> str:
    return one_line(str(value), 40)


def run_table(result: dict[str, Any]) -> Table:
    table = Table(title=result["run_id"] or "no run", title_justify="left")
    for name in ("step", "reused", "generated", "left out", "trained", "seconds", "id"):
        table.add_column(name, justify="left" if name in ("step", "id") else "right", no_wrap=True)
    for step in result["steps"]:
        numbers = [str(step[k]) for k in ("reused", "generated", "excluded", "trained")]
        table.add_row(step["step"], *numbers, f"{step['duration_s']:.1f}", (step["id"] or "")[:14])
    return table


def run_lines(result: dict[str, Any]) -> Iterator[str]:
    """Where things are, what was left out, and what to try next."""
    home = Path(result["workspace"])
    for found in result["exclusions"]:
        yield f"left out by {found['step']}: {found['rows']} {found['reason']}"
    made = {stage: found for stage, found in result["checkpoints"].items() if found}
    if result["report"]:
        yield f"report      {result['report']}"
    if made:
        yield f"checkpoint  {home / 'artifacts' / 'checkpoints' / list(made.values())[-1]}"
    yield f"ledger      {home / 'ledger.duckdb'}"
    yield "next:"
    yield f"  solon plan --recipe {result['recipe']}      (after editing a principle)"
    if result["snapshots"]["preferences"]:
        last = list(made)[-1] if made else "preferences-rows"
        yield f"  solon why latest/{last}"
        yield "  solon export latest/preferences-rows --format trl --out pairs"
