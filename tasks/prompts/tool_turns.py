"""Calls of tools as people write them: OpenAI's `tool_calls` and the older `function_call`, and
ShareGPT's turns of role function_call, whose text is the call. Pure functions.
"""

from __future__ import annotations

import json
from typing import Any

from storage.ids import canonical_json


def calls_of(turn: dict[str, Any], content: Any) -> str:
    """The calls of a turn as tasks/chat/calls.py keeps them; empty where none can be read.

    content: the turn's own text, of turns that have their calls in it.
    """
    listed = _parsed(turn.get("tool_calls") or turn.get("function_call") or content)
    calls = [_call(each) for each in (listed if isinstance(listed, list) else [listed])]
    whole = [call for call in calls if call]
    return canonical_json(whole).decode() if whole and len(whole) == len(calls) else ""


def _call(value: Any) -> dict[str, Any] | None:
    """A call's name and arguments; None for anything else."""
    own = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(own, dict) or not isinstance(own.get("name"), str) or not own["name"].strip():
        return None
    arguments = _parsed(own.get("arguments", own.get("parameters")) or {})
    return {"name": own["name"], "arguments": arguments} if isinstance(arguments, dict) else None


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
