"""Calls of tools and what these gave, within a conversation.

As the ledger keeps them, a turn is texts by name: a call is an assistant's turn with `tool_calls`,
canonical JSON of [{"arguments": {...}, "name": "..."}]; what a tool gave is a turn of role `tool`.
Templates and servers want objects with ids: `with_calls` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

CALLS = "tool_calls"
RESULT = "tool"


def is_of_tool(message: Mapping[str, str]) -> bool:
    """Whether a turn calls tools, or is what one gave."""
    return CALLS in message or message["role"] == RESULT


def said(message: Mapping[str, str]) -> str:
    """All that stands in a turn, as one text: of a call its JSON after what is said with it."""
    return "\n".join(filter(None, (message["content"], message.get(CALLS, ""))))


def with_calls(messages: Sequence[Mapping[str, str]], *, as_text: bool) -> list[dict[str, Any]]:
    """The turns as templates (and, with `as_text`, servers) take them: calls as objects with ids of
    nine digits, results with the id and the name of their call, in the order of the calls.

    as_text: arguments are JSON text, as servers have them, and no objects.
    """
    found: list[dict[str, Any]] = []
    waiting: list[tuple[str, str]] = []  # (id, name) of calls without a result
    count = 0
    for message in messages:
        turn: dict[str, Any] = dict(message)
        if CALLS in message:
            turn[CALLS] = []
            for call in json.loads(message[CALLS]):
                count += 1
                arguments = call["arguments"]
                given = json.dumps(arguments, ensure_ascii=False) if as_text else arguments
                function = {"name": call["name"], "arguments": given}
                turn[CALLS].append({"id": f"{count:09d}", "type": "function", "function": function})
                waiting.append((f"{count:09d}", call["name"]))
        elif message["role"] == RESULT and waiting:
            turn["tool_call_id"], turn["name"] = waiting.pop(0)
        found.append(turn)
    return found
