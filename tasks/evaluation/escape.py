"""Text from models and data, made harmless for Markdown: the one place that does it.

A backslash stands before what Markdown would read as markup or as an address, and before nothing
else (CommonMark 0.31, section 2.4): the text reads the same where it is rendered, and nearly the
same where it is not. Two exceptions: line breaks become a visible sign, control and direction
characters a replacement mark.
"""

from __future__ import annotations

import re

LINE_BREAK = " ⏎ "
_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MARKUP = re.compile(
    r"[`|\\*\[\]~$]|<(?=\S)|&(?=#?\w+;)"  # anywhere; $ begins a formula in some viewers
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # unless within a word, as in ids
    r"|^[-+](?!\d)|^[=:#>]|^\d+[.)](?=\s|$)|#$"  # at the start; of a heading, at its end
    r"|:(?=//)|@(?=\w)|(?<=\bwww)\.",  # addresses, of which viewers make links
    re.IGNORECASE,
)


def markdown_cell(text: str, limit: int | None = None) -> str:
    """`text` on one line, safe in a Markdown table cell, paragraph, heading or list item.

    limit: the most characters of the text that are shown; what is cut is replaced by "…".
    """
    if limit is not None and len(text) > limit:
        text = text[:limit].rstrip() + "…"
    text = _UNSEEN.sub("\ufffd", _BREAKS.sub(LINE_BREAK, text.strip()).replace("\t", " "))
    return _MARKUP.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", text)
