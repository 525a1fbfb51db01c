"""Is the answer the JSON that was asked for, and nothing else?

The answer as a whole must be one JSON object, bare or in one code block; JSON within prose is not.
expects: `fields`, type by name ("string", "number", "boolean", "list"), all of which must be there;
`is_closed`, whether others may not; `values`, what some of them must be (texts in any case).
"""

from __future__ import annotations

from typing import Any

from constitution.formats import json_object
from constitution.reading import read
from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.probes.text import plain


def score(question: Question, answer: str) -> Scored:
    found = json_object(read(answer))
    if found is None:
        return Scored(0.0, "is no JSON object, or more than one")
    fault = _fault(found, question.expects)
    return Scored(0.0, fault) if fault else Scored(1.0, "is JSON with the fields asked for")


def _fault(found: dict[str, Any], expects: Any) -> str | None:
    fields = expects["fields"]
    if missing := [name for name in fields if name not in found]:
        return f"lacks the field {missing[0]}"
    if expects.get("is_closed") and (more := sorted(set(found) - set(fields))):
        return f"has a field {more[0]} that was not asked for"
    for name, kind in fields.items():
        if not is_a(found[name], kind):
            return f"has a {name} that is no {kind}"
    for name, value in expects.get("values", {}).items():
        if not is_same(found[name], value):
            return f"has a {name} that is not {value}"
    return None


def is_a(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a kind; an empty text or list is none."""
    if kind == "string":
        return isinstance(value, str) and bool(value.strip())
    if kind == "list":
        return isinstance(value, list) and bool(value)
    if kind == "boolean":
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_same(found: Any, value: Any) -> bool:
    """Whether two JSON values are equal; texts in any case, 3 and 3.0 alike, true is not 1."""
    if isinstance(found, str) and isinstance(value, str):
        return plain(found).strip(".") == plain(value).strip(".")
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(is_same, found, value))
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)
