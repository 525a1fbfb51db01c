"""The story of a row as text for people: its prompt, every call in order, and why the last one was.

Texts of models and data are made visible, and cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import Piece, in_terminal
from flows.explain.lineage_text import WIDTH, because_of
from storage.ids import short, shortened
from tasks.chat.calls import said
from tasks.generation.sets import IMPORTED

MAX_LINES = 24
AROUND_CHARS = 120  # of unchanged text kept on either side of a difference
ENDS = {
    "stop": "ended by itself",
    "length": "cut at the limit",
    "too_long": "request too long to try",
}
ROLES = {"teacher": "teacher's answer", "sample": "answer to the prompt as it is"}


def story_lines(story: dict[str, Any]) -> Iterator[str | Text]:
    """The chain in order, then why its last link was generated."""
    yield from _prompt(story["prompt"])
    for link in story["links"]:
        yield from _link(link)
    yield from _row(story["row"])
    if story["why"]:
        yield from _why(story["why"])


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
    yield (f"  {model}; temperature {link['temperature']:g}, top-p {link['top_p']:g}; {_end(link)}")
    recipe = link["run"]["recipe"]
    run = short(link["run"]["id"]) + (f" ({one_line(recipe, 40)})" if recipe else "")
    yield f"  {run}, {link['created_at'][:19]} UTC"
    yield f"  made {because_of(link['cause'])}"


def _end(link: dict[str, Any]) -> str:
    reason = link["finish_reason"]
    at = f" of {link['cut_at']} tokens" if reason == "length" else ""
    return ENDS.get(reason, reason) + at


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
    yield f"why: it was generated again {because_of(why)}"
    root = why["root"]
    if root["component"] != why["component"]:
        yield f"  which began with the {_place(root)}, {because_of(root)}"
    before = why["before"]
    yield f"  before: {short(before['completion_id'])} of {short(before['run_id'])}"
    for field, pieces in why["principle_difference"].items():
        yield f"  the principle's {field} request:"
        yield from _difference(pieces)
    yield "  the request:"
    yield from _difference(why["request_difference"])


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
