"""A flow's parameters as a form of the UI: what it offers, and what the server refuses.

The UI writes "(Optional)" beside what the schema does not require, and offers None where a value
may be null. So what has a default is required, and filled in by the deployment; what may be left
empty has no default and no null: it is left out. The UI shows a list that has null as a field to
type into.
"""

from __future__ import annotations

from typing import Any

from flows.serve.reach import choices

MAX_CHARS = 20_000
RECIPE = "recipe"

Json = dict[str, Any]


def guarded(schema: Json, recipe: str | None) -> Json:
    """A flow's schema with what the server is to refuse before there is a run.

    Unknown keys, what is not among `choices`, and texts of more than MAX_CHARS characters. recipe:
    what the form is preset to; None where somebody is to choose it.
    """
    found: Json = _limited(schema) | {"additionalProperties": False}
    offered = choices()
    for part in (found, *found.get("definitions", {}).values()):
        properties = part.get("properties", {})
        for name, own in properties.items():
            properties[name] = _chosen(_plain(own), offered.get(name))
    own = found["properties"]
    found["required"] = [name for name in own if "default" in own[name]]
    own[RECIPE].pop("default")
    if recipe:
        own[RECIPE]["default"] = recipe
    for part in found.get("definitions", {}).values():
        _untouched(part)
    return found


def filled_in(schema: Json) -> Json:
    """What a deployment fills in of a guarded form: all that has a default but the recipe."""
    own = schema["properties"]
    return {n: own[n]["default"] for n in own if n != RECIPE and "default" in own[n]}


def _plain(own: Json) -> Json:
    """The schema of a value or null as that of the value alone, without a default."""
    parts = [part for part in own.get("anyOf", ()) if part != {"type": "null"}]
    if len(parts) == 1 and len(own["anyOf"]) == 2:
        own = {name: value for name, value in own.items() if name != "anyOf"} | parts[0]
    is_empty = "default" in own and own["default"] is None and own.get("type") != "array"
    if own.get("type") == "array" and own.get("default", ()) is None:
        return own | {"default": []}
    return {name: value for name, value in own.items() if name != "default" or not is_empty}


def _chosen(own: Json, values: list[str] | None) -> Json:
    """With the values that it may have: a list to choose from, where null is none of them."""
    return own | {"enum": values} if values and own.get("type") == "string" else own


def _untouched(part: Json) -> None:
    """Take empty defaults from the parts of a form within the form: what nobody touches is absent,
    and so is the whole.
    """
    for own in part.get("properties", {}).values():
        if own.get("default") == "":
            del own["default"]


def _limited(part: Any) -> Any:
    """A part of a schema, its texts limited."""
    if isinstance(part, list):
        return [_limited(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {key: _limited(value) for key, value in part.items()}
    if found.get("type") == "string" and "enum" not in found:
        found.setdefault("maxLength", MAX_CHARS)
    return found
