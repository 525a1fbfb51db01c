"""Does a prompt ask for a JSON object? Rules over English sentences; no model.

A prompt asks where one of its sentences speaks of an answer in JSON ("as a JSON object", "reply
with JSON only"), unless it is a question about JSON ("How do I store dates in JSON?") or asks for
code or a file that deals with JSON ("Write a function that returns JSON"). A wish for a JSON array
is none for an object; other languages are not seen.
"""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_WANTED = re.compile(
    r"\b(?:(?:as|in|into|to|using|with) (?:[\w-]+ ){0,3}?"
    r"|(?:return|reply|respond|answer|output|give|produce|provide|send|write|print|generate|make|"
    r"create|format|contain|only)\b[^\n]{0,60}?)"
    r"JSON\b(?! (?:file|schema|parser|library|api|web|path|lines|array|list))"
    r"|^JSON (?:only|please)\b",
    re.I,
)
_QUESTION = re.compile(
    r"(?:how|what|why|when|which|where|who|is|are|does|do|should|explain)\b", re.I
)
_CODE = re.compile(
    r"\b(?:function|script|program|code|class|method|endpoint|server|app|api|query|command)\b", re.I
)


def asks_for_json(prompt: str) -> bool:
    """Whether the prompt wants a JSON object for its answer."""
    return any(_asks(sentence.strip()) for sentence in _SENTENCE.split(prompt))


def _asks(sentence: str) -> bool:
    wanted = _WANTED.search(sentence)
    if wanted is None or _QUESTION.match(sentence):
        return False
    return not _CODE.search(sentence[: wanted.end()])
