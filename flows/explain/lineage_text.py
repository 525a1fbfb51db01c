"""Lineages and stories of rows as text for people: lines for a terminal, or a Mermaid chart.

Texts of models and data are made visible, and cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import Piece, in_terminal
from flows.explain.show import because, markdown_table
from flows.plan.causes import UPSTREAM
from storage.ids import short, shortened
from storage.ledger import Ledger
from storage.lineage import summary
from storage.refs import opened
from tasks.chat.calls import said
from tasks.generation.sets import IMPORTED

NOTABLE = ("constitution", "principle", "model", "set", "dataset", "checkpoint", "evaluation")
LABEL_CHARS = 80
BOX_CHARS = 100  # a label and the kind before it
WIDTH = 76  # with its indent 80 columns
NAME_CHARS, LEAST_CHARS = 48, 24
CODE_CHARS = 12
MAX_LINES = 24
REASON_CHARS = 300
AROUND_CHARS = 120  # of unchanged text kept on either side of a difference
ENDS = {
    "stop": "ended by itself",
    "length": "cut at the limit",
    "too_long": "request too long to try",
}


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


ROLES = {"teacher": "teacher's answer", "sample": "answer to the prompt as it is"}


def story_lines(story: dict[str, Any]) -> Iterator[str | Text]:
    """The chain in order, then why its last link was generated."""
    yield from _prompt(story["prompt"])
    for link in story["links"]:
        yield from _link(link)
    yield from _row(story["row"])
    if story["why"]:
        yield from _why(story["why"])


def retrained_lines(causes: list[dict[str, str | None]]) -> Iterator[str]:
    """Why a checkpoint was trained: a line for each component of its key that differed."""
    for cause in causes:
        if cause["component"] is None:
            yield "why: it was trained with none of its stage in use before"
        else:
            yield f"why: it was trained again {_because(cause)}"


def judged_lines(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    """Whether each policy passes its gates, and what it misses."""
    for policy in dict.fromkeys(found["policy"] for found in verdicts):
        own = [found for found in verdicts if found["policy"] == policy]
        missed = [found for found in own if not found["is_passed"]]
        outcome = f"misses {len(missed)} of {len(own)} gates" if missed else "passes every gate"
        yield f"{policy} {outcome} ({short(own[0]['evaluation_id'])})"
        yield from (f"  {one_line(found['reason'], REASON_CHARS)}" for found in missed)


def _prompt(prompt: dict[str, Any]) -> Iterator[str]:
    where = f"{prompt.get('source') or ''}:{prompt.get('source_line') or ''}".strip(":")
    facts = ", ".join(one_line(fact, 60) for fact in (prompt.get("category"), where) if fact)
    yield f"prompt {short(prompt['prompt_id'])}" + (f" ({facts})" if facts else "")
    for message in prompt["messages"]:
        yield from _text(f"{message['role']}: {said(message)}")


def _link(link: dict[str, Any]) -> Iterator[str]:
    yield f"{_place(link)} {short(link['completion_id'])}{_under(link['principle'])}"
    if link["step"] not in ("draft", "answer"):  # which ask the prompt itself
        count = link["worked_examples"]
        examples = f" after {count} worked example{'s' if count != 1 else ''}" if count else ""
        yield f"  asked{examples}:"
        yield from _text(link["request"])
        yield "  answered:"
    yield from _text(link["text"])
    model = one_line(shortened(link["model"]["reference"] or link["model"]["id"]), 60)
    yield (
        f"  {model}; temperature {link['temperature']:g}, top-p {link['top_p']:g};"
        f" {ENDS.get(link['finish_reason'], link['finish_reason'])}"
    )
    recipe = link["run"]["recipe"]
    run = short(link["run"]["id"]) + (f" ({one_line(recipe, 40)})" if recipe else "")
    yield f"  {run}, {link['created_at'][:19]} UTC"
    yield f"  made {_because(link['cause'])}"


def _row(row: dict[str, Any]) -> Iterator[str]:
    if row["kind"] == "pair":
        yield f"chosen with preference {row['preference']:g}: {_side(row, 'chosen')}"
        yield from _text(row["chosen"]["text"])
        yield from _said(row["labels"])
        yield f"rejected: {_side(row, 'rejected')}"
        yield from _text(row["rejected"]["text"])
        if row["critique"]:
            yield "revised after the critique"
            yield from _text(row["critique"])
    elif row["kind"] == "example":
        yield "learned as"
        yield from _text(row["response"])


def _side(row: dict[str, Any], side: str) -> str:
    """A pair's response by its id, and what it is."""
    step = row[side]["step"]
    if step is None:
        return f"a text that {'an import' if row['source'] == IMPORTED else 'people'} brought"
    made = f"the {ROLES.get(step, step)}"
    if step == "revision":
        made += f" of round {row['round']}{_under(row['principle'])}"
    return f"{short(row[side]['completion_id'])}, {made}"


def _said(labels: list[dict[str, Any]]) -> Iterator[str]:
    """Who says that the chosen response is the better one."""
    for label in labels:
        on = f" on {one_line(label['slug'], 60)}" if label["slug"] else ""
        rule = " ({}: {})".format(*next(iter(label["rule"].items()))) if label["rule"] else ""
        figure = f", {label['preference']:.2f}" if label["preference"] != 1 else ""
        turned = ", against what its source presumes" if label["is_turned"] else ""
        by = f" ({one_line(label['model'], 60)})" if label["model"] else ""
        if label["author"]:
            yield f"  {_reviewed(label)}{on}{turned}"
            continue
        yield f"  better by {label['given_by']}{by}{on}{one_line(rule, 80)}{figure}{turned}"
    if not labels:
        yield "  better by its source alone: there is no evidence"


def _reviewed(label: dict[str, Any]) -> str:
    """What a reviewer said of the chosen response, who, when and in which words."""
    preference = label["preference"]
    verb = "better" if preference > 0.5 else "a tie" if preference == 0.5 else "worse"
    note = f': "{one_line(label["note"], 120)}"' if label["note"] else ""
    return f"{verb} by {one_line(label['author'], 60)}, {label['said_at'][:16]} UTC{note}"


def _why(why: dict[str, Any]) -> Iterator[str | Text]:
    if why["is_first"]:
        yield "why: it was generated for the first time: no earlier completion is in its place"
        return
    yield f"why: it was generated again {_because(why)}"
    root = why["root"]
    if root["component"] != why["component"]:
        yield f"  which began with the {_place(root)}, {_because(root)}"
    before = why["before"]
    yield f"  before: {short(before['completion_id'])} of {short(before['run_id'])}"
    for field, pieces in why["principle_difference"].items():
        yield f"  the principle's {field} request:"
        yield from _difference(pieces)
    yield "  the request:"
    yield from _difference(why["request_difference"])


def _because(cause: dict[str, Any]) -> str:
    if cause["component"] == UPSTREAM:
        return "because what it builds on changed"
    return because(cause["component"], cause["was"], cause["is"])


def _place(link: dict[str, Any]) -> str:
    return link["step"] if link["round"] is None else f"{link['step']} of round {link['round']}"


def _under(principle: dict[str, Any] | None) -> str:
    if not principle:
        return ""
    return f" under {one_line(principle['slug'] or '', 60)} ({short(principle['id'])})"


def _text(text: str) -> Iterator[str]:
    """Wrapped and indented; a long one cut, with how much there is more."""
    lines: list[str] = []
    for line in visible(text).strip().split("\n"):
        lines += textwrap.wrap(line, WIDTH) or [""]
    more = len(lines) - MAX_LINES
    for line in lines[:MAX_LINES]:
        yield f"    {line}".rstrip()
    if more > 0:
        yield f"    … ({more} line{'s' if more != 1 else ''} more: --json shows all)"


def _difference(found: list[dict[str, Any]]) -> Iterator[Text]:
    pieces = []
    for n, piece in enumerate(found):
        text = piece["text"]
        if piece["kind"] == "same":
            text = _around(text, is_first=n == 0, is_last=n == len(found) - 1)
        pieces.append(Piece(piece["kind"], text))
    for line in in_terminal(pieces).split("\n", allow_blank=True):
        yield Text("    ") + line


def _around(text: str, is_first: bool, is_last: bool) -> str:
    """Unchanged text, all but what stands next to a difference cut out."""
    left = "" if is_first else text[:AROUND_CHARS].rpartition(" ")[0]
    right = "" if is_last else text[-AROUND_CHARS:].partition(" ")[2]
    return text if len(text) <= 3 * AROUND_CHARS else f"{left} … {right}"
