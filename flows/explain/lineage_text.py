"""A lineage as text for people: counts and the nodes that are few, or a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.explain.compare.text import one_line
from storage.ids import short
from storage.ledger import Ledger
from storage.lineage import boxes, opened

NOTABLE = ("constitution", "principle", "model", "dataset", "checkpoint", "evaluation")
LABEL_CHARS = 80
BOX_CHARS = 100  # a label and the kind before it


def lineage_lines(found: dict[str, Any], direction: str) -> Iterator[str]:
    """A trace in words: counts, then everything that is not one of very many rows."""
    node = found["nodes"].get(found["id"], {"label": ""})
    yield f"{short(found['id'])} ({found['kind']}: {_shown(node['label'])})"
    verb = "was made from" if direction == "up" else "reached"
    counts = ", ".join(f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in found["counts"].items())
    yield f"{verb}: {counts or 'nothing'}"
    for kind in NOTABLE:
        for row_id, node in found["nodes"].items():
            if node["kind"] == kind and row_id != found["id"]:
                yield f"  {kind:<12} {short(row_id)}  {_shown(node['label'])}"
    for row_id, node in found["nodes"].items():
        if "components" in node and (direction == "up" or row_id == found["id"]):
            yield from component_lines(row_id, node)


def component_lines(row_id: str, node: dict[str, Any]) -> Iterator[str]:
    """What a checkpoint's key is made of."""
    parts = node["components"]
    libraries = " ".join(f"{name} {version}" for name, version in parts["libraries"].items())
    commit = node.get("git_commit", "unknown")
    words = f"{node.get('constitution', '')} {short(node.get('constitution_id', ''))}".strip()
    yield f"  {_shown(node['label'])} {short(row_id)}"
    yield f"    constitution {_shown(words)}; seed {parts['seed']}; {parts['precision']}"
    yield f"    code {parts['code']}, commit {commit}; {libraries}"


def origin_chart(ledger: Ledger, row_id: str) -> str:
    """What a row or checkpoint was made from, as a Mermaid flowchart."""
    with opened(ledger, row_id) as (con, ids):
        return mermaid(boxes(con, ids, "up"))


def mermaid(drawn: dict[str, Any]) -> str:
    """`storage.lineage.boxes` as a Mermaid flowchart, what was made above what it was made from."""
    lines = ["flowchart BT"]
    for name, node in drawn["nodes"].items():
        count = node.get("count")
        label = f"{count} {name}s" if count else f"{node['kind']}: {node['label']}"
        lines.append(f'  {name}["{_mermaid_text(label)}"]')
    for edge in drawn["edges"]:
        lines.append(f"  {edge['parent']} -->|{edge['role']}| {edge['child']}")
    return "\n".join(lines)


def _shown(text: str) -> str:
    return one_line(text, LABEL_CHARS)


def _mermaid_text(text: str) -> str:
    """Letters, digits and a little punctuation stay; everything else becomes its character code.

    Mermaid turns codes back into characters, so what is not safe to show goes before.
    """
    shown = one_line(text, BOX_CHARS)
    return "".join(c if c.isalnum() or c in " .:-_/" else f"#{ord(c)};" for c in shown)
