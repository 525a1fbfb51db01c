"""What a check sees of an answer: its Markdown as a reader sees it, and where code stands.

A block is a paragraph, a list item's text, a heading or a piece of code. In its `text` code spans
and code blocks are one sign, `CODE`; in `with_code` they are there; in `source` the other marks of
Markdown (`**`, `#`, `[](…)`) are there as well, but no code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

CODE = "\ufffc"  # stands for a piece of code that was left out
INVISIBLE = frozenset("Zs Zl Zp Cc Cf Cs".split())  # Unicode categories
_LOOKED_THROUGH = frozenset("Zs Zl Zp Cc Cf Mn Me So Sk Pf Pe Pi Ps".split())
_CLOSING = frozenset("\"'*_~")
_APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'"})


@dataclass(frozen=True)
class Block:
    """One block of an answer, its three texts in Unicode's form NFC."""

    kind: Literal["text", "heading", "code"]
    text: str
    with_code: str
    source: str
    language: str | None = None  # what a fence is marked with, in lower case; None without a fence
    is_closed: bool = True  # of a fence: whether it ends before the answer does


@dataclass(frozen=True)
class Reading:
    """An answer as its blocks."""

    written: str  # the answer itself, in NFC, lone surrogates replaced
    blocks: tuple[Block, ...]
    marks: str  # signs that make quotes, rules, headings and list items
    has_list: bool

    @property
    def text(self) -> str:
        """What stands outside of code."""
        return "\n\n".join(block.text for block in self.blocks)

    @property
    def with_code(self) -> str:
        return "\n\n".join(block.with_code for block in self.blocks)

    @property
    def source(self) -> str:
        """What stands outside of code, with the marks of Markdown; those of blocks at the end."""
        return "\n\n".join([*(block.source for block in self.blocks), self.marks])

    @property
    def code(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.kind == "code")


@lru_cache(maxsize=64)  # all checks of a constitution look at one answer in turn
def read(response: str) -> Reading:
    """Read an answer as Markdown (CommonMark, without HTML)."""
    written = unicodedata.normalize("NFC", well_formed(response))
    tokens = _parser().parse(written)
    marks = " ".join(t.markup for t in tokens if t.type not in ("fence", "code_block", "inline"))
    return Reading(written, tuple(_blocks(tokens, written)), marks, any(map(_is_item, tokens)))


def well_formed(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot hold, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def same_signs(text: str) -> str:
    """The text for comparison: NFC, straight apostrophes, each white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_APOSTROPHES).split())


def is_looked_through(character: str) -> bool:
    """Whether beginning and end look through it: quotes, brackets, emphasis, emoji, direction."""
    if character == CODE:
        return False
    return character in _CLOSING or unicodedata.category(character) in _LOOKED_THROUGH


def is_visible(text: str) -> bool:
    """Whether anything in it can be seen."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False})
    parser.inline.ruler.at("backticks", _code_span)
    return parser


def _code_span(state: StateInline, silent: bool) -> bool:
    """The parser's own rule for code spans, which also notes where the span stands."""
    from markdown_it.rules_inline import backtick

    start, count = state.pos, len(state.tokens)
    found = backtick(state, silent)
    if found and len(state.tokens) > count and state.tokens[-1].type == "code_inline":
        state.tokens[-1].meta["span"] = (start, state.pos)
    return found


def _blocks(tokens: Sequence[Token], written: str) -> Iterator[Block]:
    lines = re.split(r"\r\n?|\n", written)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline":
            kind: Literal["text", "heading"] = "text"
            if before is not None and before.type == "heading_open":
                kind = "heading"
            yield Block(kind, *_texts(token))
        elif token.type in ("fence", "code_block"):
            language = token.info.strip().split(" ")[0].lower() if token.markup else None
            yield Block("code", CODE, token.content, CODE, language, _is_closed(token, lines))


def _texts(inline: Token) -> tuple[str, str, str]:
    """Text, text with code, and source without code of one inline token."""
    text, with_code, source, begun = "", "", "", 0
    for token in inline.children or ():
        shown = "\n" if token.type in ("softbreak", "hardbreak") else token.content
        with_code += shown
        text += CODE if token.type == "code_inline" else shown
        if span := token.meta.get("span"):
            source += inline.content[begun : span[0]] + CODE
            begun = span[1]
    return text, with_code, source + inline.content[begun:]


def _is_closed(fence: Token, lines: Sequence[str]) -> bool:
    """Whether a fence's last line is the fence itself, and not the end of the answer."""
    if fence.type != "fence" or fence.map is None:
        return True
    first, end = fence.map
    last = lines[end - 1].strip(" >\t") if end <= len(lines) else ""
    return end - first > 1 and last.startswith(fence.markup) and not last.strip(last[0])


def _is_item(token: Token) -> bool:
    """Whether it opens a list item; a number like that of a year opens none."""
    return token.type == "list_item_open" and len(token.info) <= 3
