"""Text from models and data, made safe to print: control, direction and empty characters become
visible.

A terminal obeys escape sequences and reorders what stands after a direction override, so neither
may reach it; and two texts that differ by what nobody sees would look the same. The HTML page shows
the same: a NUL or a lone surrogate would be a fault there.
"""

from __future__ import annotations

import json as js
import re

REPLACEMENT = "\ufffd"
LINE_BREAKS = {code: "\n" for code in (0x85, 0x2028, 0x2029)}
KEPT = {0x09, 0x0A}
EMPTY = (0xAD, 0x34F, 0x180E, 0x200B, *range(0x2060, 0x2065), 0xFEFF, *range(0xE0000, 0xE0080))
JOINERS = re.compile("(?<=[!-~])[\u200c-\u200f]+(?=[!-~])")
"""Joiners and direction marks belong into other scripts and emoji; between ASCII they hide."""
_SHOWN: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in KEPT},  # NUL is ␀, ESC is ␛
    0x7F: "\u2421",
    **{code: REPLACEMENT for code in range(0x80, 0xA0)},
    **LINE_BREAKS,
    **dict.fromkeys(EMPTY, REPLACEMENT),
    **{code: REPLACEMENT for code in range(0x202A, 0x202F)},  # embeddings and overrides
    **{code: REPLACEMENT for code in range(0x2066, 0x206A)},  # isolates
    **{code: REPLACEMENT for code in range(0xD800, 0xE000)},
    **{code: REPLACEMENT for code in range(0xFDD0, 0xFDF0)},  # no characters
}
_ESCAPES = {code: js.dumps(chr(code))[1:-1] for code in _SHOWN if code >= 0x80} | {0x7F: "\\u007f"}


def visible(text: str) -> str:
    """`text` with controls as signs (␀, ␛), direction controls, surrogates and characters without
    any shape as U+FFFD.

    Tabs and newlines stay; every other line break becomes a newline.
    """
    return JOINERS.sub(REPLACEMENT, text.replace("\r\n", "\n")).translate(_SHOWN)


def escaped(json: str) -> str:
    """The same JSON with what `visible` would change written as \\uXXXX."""
    shown = JOINERS.sub(lambda found: js.dumps(found[0])[1:-1], json)
    return shown.translate(_ESCAPES)


def one_line(text: str, limit: int) -> str:
    """`visible` text on one line of at most `limit` characters; what is cut becomes "…"."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
