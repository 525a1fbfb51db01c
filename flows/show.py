"""Results as text for people: plans, runs, lineage. Plain functions from values to lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from flows.plan import Plan


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
    cost = plan.cost
    seconds = "no history" if cost["seconds"] is None else f"{span(cost['seconds'])} s"
    yield f"cost: {span(cost['calls'])} calls, {span(cost['tokens'])} tokens, {seconds}"


def span(low_high: Any) -> str:
    """A range as `7` or `7 to 9`."""
    low, high = low_high
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:39] + "…"


def run_table(result: dict[str, Any]) -> Table:
    table = Table(title=f"run {result['run_id']}", title_justify="left")
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


def lineage_lines(found: dict[str, Any], direction: str) -> Iterator[str]:
    """A trace in words: counts, then everything that is not one of very many rows."""
    node = found["nodes"].get(found["id"], {"label": ""})
    yield f"{found['id']} ({found['kind']}: {node['label']})"
    verb = "was made from" if direction == "up" else "reached"
    counts = ", ".join(f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in found["counts"].items())
    yield f"{verb}: {counts or 'nothing'}"
    for kind in ("constitution", "principle", "model", "dataset", "checkpoint", "evaluation"):
        for row_id, node in found["nodes"].items():
            if node["kind"] == kind and row_id != found["id"]:
                yield f"  {kind:<12} {row_id}  {node['label']}"
    for row_id, node in found["nodes"].items():
        if "components" in node and (direction == "up" or row_id == found["id"]):
            yield from component_lines(row_id, node)


def component_lines(row_id: str, node: dict[str, Any]) -> Iterator[str]:
    parts = node["components"]
    libraries = " ".join(f"{name} {version}" for name, version in parts["libraries"].items())
    commit = node.get("git_commit", "unknown")
    words = f"{node.get('constitution', '')} {node.get('constitution_id', '')}".strip()
    yield f"  {node['label']} {row_id}"
    yield f"    constitution {words}; seed {parts['seed']}; {parts['precision']}"
    yield f"    code {parts['code']}, commit {commit}; {libraries}"


def mermaid(found: dict[str, Any]) -> str:
    """The trace as a Mermaid flowchart; rows of a kind with more than eight members are one box."""
    many = {kind for kind, count in found["counts"].items() if count > 8}

    def box(row_id: str) -> str:
        kind = found["nodes"][row_id]["kind"]
        return kind if kind in many else row_id

    lines = ["flowchart BT"]
    boxes = {box(row_id): row_id for row_id in found["nodes"]}
    for name, row_id in boxes.items():
        node = found["nodes"][row_id]
        count = found["counts"].get(name)
        label = f"{count} {name}s" if name in many else f"{node['kind']}: {node['label']}"
        lines.append(f'  {name}["{_mermaid_text(label)}"]')
    edges = {(box(e["child"]), box(e["parent"]), e["role"]) for e in found["edges"]}
    lines += [f"  {parent} -->|{role}| {child}" for child, parent, role in sorted(edges)]
    return "\n".join(lines)


def _mermaid_text(text: str) -> str:
    """Letters, digits and a little punctuation stay; everything else becomes its character code."""
    return "".join(c if c.isalnum() or c in " .:-_/" else f"#{ord(c)};" for c in text)
