"""Lineages as text for people: lines for a terminal, a table, or a Mermaid chart.

Texts of models and data are made visible, and cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from flows.explain.compare.text import one_line
from flows.explain.show import because, markdown_table
from flows.plan.causes import UPSTREAM
from storage.ids import short
from storage.ledger import Ledger
from storage.lineage import summary
from storage.lookup import opened
from tasks.generation.sets import IMPORTED

NOTABLE = ("constitution", "principle", "model", "set", "dataset", "checkpoint", "evaluation")
LABEL_CHARS = 80
BOX_CHARS = 100  # a label and the kind before it
WIDTH = 76  # with its indent 80 columns
NAME_CHARS, LEAST_CHARS = 48, 24
CODE_CHARS = 12
REASON_CHARS = 300


def lineage_lines(found: dict[str, Any], direction: str) -> Iterator[str]:
    """A trace in words: counts, then everything that is not one of very many rows."""
    node = found["nodes"].get(found["id"], {"label": ""})
    yield f"{short(found['id'])} ({found['kind']}: {_label(node['label'])})"
    verb = "was made from" if direction == "up" else "reached"
    counts = ", ".join(f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in found["counts"].items())
    yield from textwrap.wrap(f"{verb}: {counts or 'nothing'}", WIDTH, subsequent_indent="  ")
    for kind in NOTABLE:
        for row_id, node in found["nodes"].items():
            if node["kind"] == kind and row_id != found["id"]:
                more = _more(node)
                label = _named(node["label"], max(NAME_CHARS - len(more), LEAST_CHARS))
                yield f"  {kind:<12} {short(row_id)}  {label}{more}"
    for row_id, node in found["nodes"].items():
        if "components" in node and (direction == "up" or row_id == found["id"]):
            yield from component_lines(row_id, node)


def _named(label: str, limit: int) -> str:
    """A label on one line; of a path that is too long its end, which tells it from others."""
    line = one_line(label, len(label))
    is_path = line.startswith(("/", "./", "~/"))
    return f"…{line[1 - limit :]}" if is_path and len(line) > limit else one_line(line, limit)


def _more(node: dict[str, Any]) -> str:
    """Of a model what it did, of a set its kind, licence and ratio, and the hash of its files."""
    if node["kind"] != "set":
        return f" ({', '.join(node['steps'])})" if "steps" in node else ""
    file = one_line(node["path"].rpartition("/")[2], LABEL_CHARS)
    parts = [node["set_kind"], f"from {file}, hash {node['digest'][:8]}"]
    if node["set_kind"] != IMPORTED:
        told = _label(node["licence"]) if "licence" in node else "not told"
        ratio = f"{node['ratio']:g} for every row made here" if "ratio" in node else "all rows"
        parts += [f"licence {told}", ratio]
    return f" ({'; '.join(parts)})"


def component_lines(row_id: str, node: dict[str, Any]) -> Iterator[str]:
    """What a checkpoint's key is made of."""
    parts = node["components"]
    libraries = " ".join(f"{name} {version}" for name, version in parts["libraries"].items())
    commit = node.get("git_commit", "unknown")
    words = f"{node.get('constitution', '')} {short(node.get('constitution_id', ''))}".strip()
    yield f"  {_label(node['label'])} {short(row_id)}"
    yield f"    constitution {one_line(words, NAME_CHARS)}"
    yield f"    seed {parts['seed']}; {parts['precision']}"
    yield f"    code {parts['code'][:CODE_CHARS]}, commit {commit[:CODE_CHARS]}"
    yield from textwrap.wrap(libraries, WIDTH, initial_indent="    ", subsequent_indent="    ")


def origin_table(ledger: Ledger, row_id: str) -> str:
    """What a checkpoint was made from, as a table in Markdown: rows counted, all else by its id."""
    with opened(ledger, row_id) as (con, ids):
        found = summary(con, ids, "up")
    nodes = {name: node for name, node in found["nodes"].items() if name != found["id"]}
    named = {node["kind"] for node in nodes.values()}
    rows = [(kind, str(n), "") for kind, n in found["counts"].items() if kind not in named]
    rows += [(node["kind"], short(name), _label(node["label"])) for name, node in nodes.items()]
    return "\n".join(markdown_table(("made from", "id or how many", "what"), rows)) + "\n"


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


def _label(text: str) -> str:
    return one_line(text, LABEL_CHARS)


def _mermaid_text(text: str) -> str:
    """Letters, digits and a little punctuation stay; everything else becomes its character code.

    Mermaid turns codes back into characters, so what is not safe to show goes before.
    """
    shown = one_line(text, BOX_CHARS)
    return "".join(c if c.isalnum() or c in " .:-_/" else f"#{ord(c)};" for c in shown)


def retrained_lines(causes: list[dict[str, str | None]]) -> Iterator[str]:
    """Why a checkpoint was trained: a line for each component of its key that differed."""
    for cause in causes:
        if cause["component"] is None:
            yield "why: it was trained with none of its stage in use before"
        else:
            yield f"why: it was trained again {because_of(cause)}"


def judged_lines(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    """Whether each policy passes its gates, and what it misses."""
    for policy in dict.fromkeys(found["policy"] for found in verdicts):
        own = [found for found in verdicts if found["policy"] == policy]
        missed = [found for found in own if not found["is_passed"]]
        outcome = f"misses {len(missed)} of {len(own)} gates" if missed else "passes every gate"
        yield f"{policy} {outcome} ({short(own[0]['evaluation_id'])})"
        yield from (f"  {one_line(found['reason'], REASON_CHARS)}" for found in missed)


def because_of(cause: dict[str, Any]) -> str:
    if cause["component"] == UPSTREAM:
        return "because what it builds on changed"
    return because(cause["component"], cause["was"], cause["is"])
