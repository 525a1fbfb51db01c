"""Text in Markdown stays text, reads the same, and bears no mark that Markdown does not need."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.evaluation.escape import LINE_BREAK, markdown_cell

SIDES = ("open", "close")
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
markup = st.text(
    st.sampled_from("ab1. \n\r\t|`*_[]()<>#!&;:/@~$^{}\\-+=\"'\u2028\u202e\ud83d\0w"), max_size=30
)


def shown(cell: str) -> str:
    """What a reader sees: the text of the inline tokens. Fails if anything is but text."""
    tokens = MARKDOWN.parse(f"| h |\n| --- |\n| {cell} |\n")
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 1
    parts = ("table", "thead", "tbody", "tr", "th", "td")
    assert set(kinds) <= {"inline", *(f"{part}_{side}" for part in parts for side in SIDES)}
    inline = [token for token in tokens if token.type == "inline"][1]
    assert all(child.type in ("text", "text_special") for child in inline.children or [])
    return "".join(child.content for child in inline.children or [])


@given(st.text(max_size=40) | markup)
def test_any_text_in_a_cell_stays_text_and_reads_the_same(text):
    cell = markdown_cell(text)
    cell.encode("utf-8")
    assert "\n" not in cell
    assert "://" not in cell.replace(r"\://", "")
    seen = [c for c in shown(cell) if unicodedata.category(c)[0] in "LNPSM" and c not in "\ufffd⏎"]
    plain = [c for c in text if unicodedata.category(c)[0] in "LNPSM" and c not in "\ufffd⏎"]
    assert seen == plain


@given(markup)
def test_any_text_as_a_paragraph_is_one_paragraph_of_text(text):
    tokens = MARKDOWN.parse(markdown_cell(text))
    assert [token.type for token in tokens] in ([], ["paragraph_open", "inline", "paragraph_close"])
    for token in tokens[1:2]:
        assert all(child.type in ("text", "text_special") for child in token.children or [])


@given(markup)
def test_any_text_as_a_heading_is_one_heading_of_the_whole_text(text):
    cell = markdown_cell(text)
    tokens = MARKDOWN.parse(f"## {cell}\n")
    assert [token.type for token in tokens] == ["heading_open", "inline", "heading_close"]
    seen = "".join(child.content for child in tokens[1].children or [])
    assert seen.strip() == shown(cell).strip()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a|b", r"a\|b"),
        (" one\r\n\r\ntwo ", f"one{LINE_BREAK}two"),
        ("- item", r"\- item"),
        ("-0.5 +1", "-0.5 +1"),
        ("cmp_0a _b_", r"cmp_0a \_b\_"),
        ("1. item", r"1\. item"),
        ('2 > 1 < 3, "so" {they} say & it\'s 3.14 (fine) #1 end.Next C^2', None),
        ("<b>&amp; R&D", r"\<b>\&amp; R&D"),
        ("see www.e.vil or http://e.vil", r"see www\.e.vil or http\://e.vil"),
        ("mail a@b.c", r"mail a\@b.c"),
        ("C #", r"C \#"),
        ("\u202eabc\0", "\ufffdabc\ufffd"),
    ],
)
def test_escaping_by_example(text, cell):
    assert markdown_cell(text) == (text if cell is None else cell)


def test_a_long_text_is_cut():
    assert markdown_cell("abcdef", limit=3) == "abc…"


def test_nothing_invisible_is_put_in():
    assert not re.search(
        "[\u200b-\u200f\u2060\ufeff]|&#", markdown_cell('"see" http://e.vil/a@b|c')
    )
