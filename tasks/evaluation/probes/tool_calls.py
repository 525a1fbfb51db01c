"""Is the right function called with the right arguments, and none where none fits?

The system turn gives the functions and the form of a call: one JSON object with `name` and
`arguments`, bare, in a code block or between <tool_call> tags.
expects: `call`, {"name", "arguments"}, or null where no function fits; then the answer must be
words, without any call in them. Texts are compared in any case, numbers as numbers.
"""

from __future__ import annotations

import re
from typing import Any

from constitution.formats import json_object
from constitution.reading import read
from tasks.evaluation.probes.format import is_same
from tasks.evaluation.probes.question import Question, Scored

_TAGS = re.compile(r"^\s*<tool_call>(.*?)</tool_call>\s*$", re.DOTALL)
_A_CALL = re.compile(r"<tool_call>|[\"']name[\"']\s*:|[\"']arguments[\"']\s*:")


def score(question: Question, answer: str) -> Scored:
    wanted = question.expects["call"]
    if wanted is None:
        if _A_CALL.search(answer):
            return Scored(0.0, "calls a function where none fits")
        return Scored(1.0, "calls no function, as none fits")
    call = call_of(answer)
    if call is None:
        return Scored(0.0, "is no call, or a call and more")
    return _compared(call, wanted)


def call_of(answer: str) -> dict[str, Any] | None:
    """The one call that the answer is."""
    tagged = _TAGS.match(answer)
    found = json_object(read(tagged[1].strip() if tagged else answer))
    if found is None or set(found) != {"name", "arguments"}:
        return None
    is_call = isinstance(found["name"], str) and isinstance(found["arguments"], dict)
    return found if is_call else None


def _compared(call: dict[str, Any], wanted: dict[str, Any]) -> Scored:
    if call["name"] != wanted["name"]:
        return Scored(0.0, f"calls {call['name'][:40]}, not {wanted['name']}")
    given, right = call["arguments"], wanted["arguments"]
    if odd := sorted(set(given) ^ set(right)):
        what = "lacks" if odd[0] in right else "adds"
        return Scored(0.0, f"{what} the argument {odd[0][:40]}")
    for name, value in right.items():
        if not is_same(given[name], value):
            return Scored(0.0, f"gives {name} another value than {value}")
    return Scored(1.0, f"calls {wanted['name']} with the right arguments")
