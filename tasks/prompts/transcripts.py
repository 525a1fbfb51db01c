"""Human:/Assistant: transcripts as hh-rlhf writes them (Bai et al. 2022, arXiv 2204.05862).

A marker counts only at the start of a paragraph: the words "Human:" elsewhere are text.
"""

from __future__ import annotations

import re

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(text: str) -> bool:
    """Whether text opens with a Human (or Assistant) turn and holds a paragraph marker."""
    text = text.replace("\r\n", "\n")
    return bool(_MARKER.search(text) and _MARKER.match(_opened(text)))


def split_transcript(text: str) -> list[tuple[str, str]]:
    """(role, content) of each turn, in order, roles "user" and "assistant"; contents unstripped."""
    pieces = _MARKER.split(_opened(text.replace("\r\n", "\n")))
    return [(_ROLES[name], turn) for name, turn in zip(pieces[1::2], pieces[2::2], strict=True)]


def _opened(text: str) -> str:
    """`text` with exactly the blank line in front that its first marker needs."""
    return "\n\n" + text.lstrip()
