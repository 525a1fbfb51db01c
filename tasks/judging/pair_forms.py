"""Two responses to a prompt of which one is better, in the forms in which sets of them are kept.

| columns | the better response | set |
|---|---|---|
| `chosen`, `rejected` | chosen | TRL, hh-rlhf, LLaMA-Factory, UltraFeedback (binarized) |
| `preferred_output`, `non_preferred_output` | the first, with `input.messages` | OpenAI |
| `response_j`, `response_k` | the first | Stack Exchange (paired) |
| `first`, `second`, `label` | by `label`: 1 or "first", 2 or "second" | ours |
| `output_1`, `output_2`, `label` | likewise | LLMBar (arXiv 2310.07641) |
| `response_0`, `response_1`, `better_response_id` | by its number | PKU-SafeRLHF |
| `response_a`, `response_b`, `winner` | "a", "b", "model_a" or "model_b" | |
| `conversation_a`, `conversation_b`, `winner` | likewise | Chatbot Arena |
| `completions`: [{`response`, `overall_score`}] | highest score, against lowest | UltraFeedback |

A response is a text, a turn, or a conversation of which the last turn counts: an assistant's.
"""

from __future__ import annotations

import math
from typing import Any

from tasks.prompts.rows import SURROGATE
from tasks.prompts.turns import RowError, Turn, is_blank, text_of, transcript, turn_list

PREFERRED = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("response_j", "response_k"),
)
_ORDER = {1: True, 2: False, "1": True, "2": False, "first": True, "second": False}
_NUMBER = {0: True, 1: False, "0": True, "1": False}
_LETTER = {"a": True, "b": False, "model_a": True, "model_b": False}
LABELLED: tuple[tuple[str, str, str, dict[Any, bool], str], ...] = (
    ("first", "second", "label", _ORDER, "1, 2, first or second"),
    ("output_1", "output_2", "label", _ORDER, "1, 2, first or second"),
    ("response_0", "response_1", "better_response_id", _NUMBER, "0 or 1"),
    ("response_a", "response_b", "winner", _LETTER, "a, b, model_a or model_b"),
    ("conversation_a", "conversation_b", "winner", _LETTER, "a, b, model_a or model_b"),
)
DEMONSTRATED = ("completion", "output", "answer", "response")
"""Of an answer that stands alone (demonstrations.py)."""
MAX_CHARS = 100_000


def two_responses(row: dict[str, Any]) -> tuple[str, str, bool]:
    """Both responses, and whether the first is the better. Raises RowError where it is no pair."""
    for chosen, rejected in PREFERRED:
        if chosen in row and rejected in row:
            return *_both(row, chosen, rejected), True
    for first, second, key, values, allowed in LABELLED:
        if first in row and second in row:
            label = row.get(key)
            is_label = isinstance(label, int | str) and not isinstance(label, bool)
            if not is_label or label not in values:
                raise RowError("malformed", f"`{key}` is {label!r}, not {allowed}")
            return *_both(row, first, second), values[label]
    if isinstance(row.get("completions"), list):
        return _best_and_worst(row["completions"])
    raise RowError("malformed", "needs chosen and rejected, or first, second and label")


def asked_in(row: dict[str, Any]) -> dict[str, Any]:
    """The row in which to look for the prompt: Chatbot Arena has it in its conversations."""
    talk = row.get("conversation_a")
    return {"messages": talk} if isinstance(talk, list) and "conversation_b" in row else row


def _both(row: dict[str, Any], first: str, second: str) -> tuple[str, str]:
    before, one = response(row[first], first)
    before_other, other = response(row[second], second)
    if before and before_other and before != before_other:
        raise RowError("malformed", f"`{first}` and `{second}` answer different conversations")
    if one == other:
        raise RowError("malformed", "both responses are the same")
    return one, other


def _best_and_worst(completions: list[Any]) -> tuple[str, str, bool]:
    try:
        scored = [(float(each["overall_score"]), each["response"]) for each in completions]
        (low, worst), *_, (high, best) = sorted(scored, key=lambda found: found[0])
    except (TypeError, ValueError, KeyError, OverflowError):
        rule = "`completions` must be two or more, each with response and overall_score"
        raise RowError("malformed", rule) from None
    if not low < high or any(math.isnan(score) for score, _ in scored):
        raise RowError("malformed", "no `overall_score` is the highest")
    return *_both({"best": best, "worst": worst}, "best", "worst"), True


def response(value: Any, column: str) -> tuple[list[Turn], str]:
    """The turns before it, where they stand there, and the response. Raises RowError for none."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, str):
        value = transcript(value) or value
    before: list[Turn] = []
    if isinstance(value, list):
        turns = turn_list(value, column, is_answered=False)
        if not turns or turns[-1]["role"] != "assistant":
            raise RowError("malformed", f"`{column}` does not end with the assistant's turn")
        before, value = turns[:-1], turns[-1]["content"]
    text = text_of(value, column).strip()
    if is_blank(text):
        raise RowError("empty", f"`{column}` is empty")
    if "\0" in text or SURROGATE.search(text):
        raise RowError("malformed", f"`{column}` holds a character that is none")
    if len(text) > MAX_CHARS:
        raise RowError("too_long", f"`{column}` has more than {MAX_CHARS} characters")
    return [turn | {"content": turn["content"].strip()} for turn in before], text
