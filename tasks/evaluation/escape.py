"""Text from models and data, made harmless for Markdown and HTML: the one place that does it.

Every character that could start markup becomes a character reference, which Markdown shows as the
character and never reads as markup (CommonMark 0.31, section 2.5). What is left of the text reads
the same, with three exceptions: line breaks become a visible sign, control and direction characters
a replacement mark, and what may be an address (`://`, `@`, a dot within a name) gets a zero-width
space, so that no viewer makes a link of it.
"""

from __future__ import annotations

import re

LINE_BREAK = " ⏎ "
ZERO_WIDTH = "\u200b"
_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?=@)|(?<=\w)(?=\.[^\W\d_]{2})")
_MARKUP = re.compile(
    r"[&<>\"`|\\*\[\]~$^{}#]"  # anywhere
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # unless within a word, as in ids
    r"|^[-+](?!\d)|^[=:]|^\d+[.)](?=\s|$)"  # at the start
)


def markdown_cell(text: str, limit: int | None = None) -> str:
    """`text` on one line, safe in a Markdown table cell, paragraph, heading or list item.

    limit: the most characters of the text that are shown; what is cut is replaced by "…".
    """
    if limit is not None and len(text) > limit:
        text = text[:limit].rstrip() + "…"
    text = _UNSEEN.sub("\ufffd", _BREAKS.sub(LINE_BREAK, text.strip()).replace("\t", " "))
    text = _ADDRESS.sub(ZERO_WIDTH, text)
    return _MARKUP.sub(lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", text)
