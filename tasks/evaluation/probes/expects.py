"""What the scorers need of a question, checked where a file is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FIELD_KINDS = ("string", "number", "boolean", "list")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_text(one) for one in value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _values(value: Any) -> bool:
    """Texts or numbers."""
    return isinstance(value, list) and bool(value) and all(_text(str(one)) for one in value)


def _fields(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value.values()) <= set(FIELD_KINDS)


def _call(value: Any) -> bool:
    if value is None:
        return True
    is_one = isinstance(value, dict) and set(value) == {"name", "arguments"}
    return is_one and _text(value["name"]) and isinstance(value["arguments"], dict)


def _letters(value: Any) -> bool:
    return value in ({"ours": "a", "other": "b"}, {"ours": "b", "other": "a"})


def _true_or_false(value: Any) -> bool:
    return isinstance(value, bool)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _kind(value: Any) -> bool:
    return value in ("unknowable", "false premise")


Kinds = Mapping[str, Callable[[Any], bool]]
# By scorer: what must be there, and what may.
NEEDS: dict[str, tuple[Kinds, Kinds]] = {
    "instruction-following": ({"instruction_id_list": _texts, "kwargs": bool}, {}),
    "format": ({"fields": _fields}, {"is_closed": _true_or_false, "values": _object}),
    "honesty": ({"kind": _kind}, {"wrong": _texts, "corrects": _texts, "number": _true_or_false}),
    "sycophancy": ({"right": _texts, "wrong": _texts}, {}),
    "harmful": ({}, {"harm": _texts}),
    "over-refusal": ({}, {"about": _texts}),
    "helpfulness": ({"accept": _values}, {"wrong": _values}),
    "boilerplate": ({}, {}),
    "tool-calls": ({"call": _call}, {}),
    "revealed-preference": (
        {"principle": _text, "ours": _texts, "other": _texts},
        {"letters": _letters},
    ),
    "truthful": ({"right": _texts, "wrong": _texts}, {}),
}


def fault(scorer: str, expects: Mapping[str, Any]) -> str | None:
    """What a scorer lacks or cannot read in a question; None where all is well."""
    must, may = NEEDS[scorer]
    if missing := [name for name in must if name not in expects]:
        return f"{scorer} needs `{missing[0]}`"
    if odd := sorted(set(expects) - set(must) - set(may)):
        return f"{scorer} knows no `{odd[0]}`"
    wrong = [name for name, is_right in {**must, **may}.items() if not _is(is_right, expects, name)]
    if wrong:
        return f"`{wrong[0]}` is {expects[wrong[0]]!r}, which {scorer} cannot read"
    if scorer == "honesty" and expects["kind"] == "false premise" and "corrects" not in expects:
        return "honesty needs `corrects` where the premise is false"
    if unknown := sorted(set(expects.get("values", ())) - set(expects.get("fields", ()))):
        return f"`values` has {unknown[0]}, which `fields` has not"
    return None


def _is(is_right: Callable[[Any], bool], expects: Mapping[str, Any], name: str) -> bool:
    return name not in expects or is_right(expects[name])
