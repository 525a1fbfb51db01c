"""Conversations as a template takes them: only where it takes no system text, or wants user and
assistant to alternate, is anything changed."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.chat.calls import is_of_tool
from tasks.chat.template import Traits, Turn, turn

BETWEEN = "\n\n"


def fold(messages: Sequence[Turn], traits: Traits) -> list[dict[str, str]]:
    """System text that the template does not take stands before the next user turn's, after an
    empty line; neighbours of one role are one turn where the template takes no two.
    """
    folded: list[dict[str, str]] = []
    waiting: list[str] = []  # system texts for the next user turn
    for index, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role == "system" and not _takes(traits, index):
            if index and folded and folded[-1]["role"] == "system":
                folded[-1] = turn(role, folded[-1]["content"] + BETWEEN + content)
            else:
                waiting.append(content)
            continue
        if waiting and role != "user":
            _add(folded, turn("user", BETWEEN.join(waiting)), traits)
            waiting = []
        _add(folded, {**message, "content": BETWEEN.join([*waiting, content])}, traits)
        waiting = []
    if waiting:
        _add(folded, turn("user", BETWEEN.join(waiting)), traits)
    return folded


def _takes(traits: Traits, index: int) -> bool:
    return traits.takes_system if index == 0 else traits.takes_later_system


def _add(folded: list[dict[str, str]], message: dict[str, str], traits: Traits) -> None:
    is_like = bool(folded) and folded[-1]["role"] == message["role"]
    is_plain = is_like and not (is_of_tool(message) or is_of_tool(folded[-1]))
    if is_plain and not traits.takes_neighbours:
        joined = folded[-1]["content"] + BETWEEN + message["content"]
        folded[-1] = {**folded[-1], "content": joined}
    else:
        folded.append(message)
