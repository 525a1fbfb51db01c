"""Differences of words: nothing lost, words and not letters, fast on texts made to be slow."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.explain.compare import words
from flows.explain.compare.text import escaped, visible
from flows.explain.compare.words import Piece, difference, in_terminal

WORDS = st.lists(st.sampled_from(["a", "b", "the", " ", "  ", "\n", ".", "🙂", "مرحبا", "語"]))
TEXT = st.one_of(st.text(), WORDS.map("".join))


def rebuilt(pieces: list[Piece], kind: str) -> str:
    return "".join(piece.text for piece in pieces if piece.kind in ("same", kind))


@given(TEXT, TEXT)
def test_the_pieces_join_to_both_texts(before: str, after: str) -> None:
    pieces = difference(before, after)
    assert rebuilt(pieces, "removed") == before
    assert rebuilt(pieces, "added") == after
    assert all(piece.text for piece in pieces)
    assert all(left.kind != right.kind for left, right in pairwise(pieces))


def test_a_changed_word_is_one_removed_and_one_added() -> None:
    assert difference("Say what is wrong.", "Say what is unclear.") == [
        Piece("same", "Say what is "),
        Piece("removed", "wrong"),
        Piece("added", "unclear"),
        Piece("same", "."),
    ]


def test_blanks_alone_are_not_common_ground() -> None:
    assert difference("one two three", "four five six") == [
        Piece("removed", "one two three"),
        Piece("added", "four five six"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("don't go", "don't stay"),
        ("café au lait", "café noir"),
        ("a 👨‍👩‍👧 b", "a 👨‍👩‍👦 b"),
        ("हिन्दी में", "हिन्दी से"),
    ],
)
def test_a_word_stays_whole(before: str, after: str) -> None:
    for piece in difference(before, after):
        assert all(word in f"{before} {after}".split() for word in piece.text.split())


def test_a_script_without_spaces_differs_by_character() -> None:
    assert [p.text for p in difference("我喜欢猫", "我喜欢狗")] == ["我喜欢", "猫", "狗"]


@pytest.mark.parametrize("word", ["a ", "spam spam! ", "x"])
def test_repetition_does_not_make_it_slow(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """The pairs of equal words that may start a match are bounded; they were 400 million."""
    tried: list[int] = []

    class Counting(SequenceMatcher[str]):
        def get_opcodes(self: Any) -> Any:
            tried.append(sum(len(self.b2j.get(token, ())) for token in self.a))
            return super().get_opcodes()

    monkeypatch.setattr(words, "SequenceMatcher", Counting)
    pieces = difference(word * 20_000, "b " + word * 15_000 + "c " + word * 5_000 + "d")
    assert max(tried) <= words.MAX_MATCHES
    assert rebuilt(pieces, "removed") == word * 20_000


def test_without_colours_marks_stand_around_the_words() -> None:
    assert in_terminal(difference("a b", "a c"), colours=False).plain == "a [-b-]{+c+}"


def test_with_colours_styles_and_no_marks() -> None:
    shown = in_terminal(difference("a b", "a c"), colours=True)
    assert shown.plain == "a bc"
    assert [span.style for span in shown.spans] == ["red strike", "green"]


def test_no_escape_sequence_reaches_the_terminal() -> None:
    shown = in_terminal(difference("\x1b[2J", "\x1b]0;x\x07 \u202etxt"), colours=False).plain
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "␛" in shown


def test_equal_and_empty_texts() -> None:
    assert difference("", "") == []
    assert difference("same", "same") == [Piece("same", "same")]
    assert difference("", "new") == [Piece("added", "new")]


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\U000e0041", "\u200d"])
def test_what_nobody_sees_is_shown(unseen: str) -> None:
    assert visible(f"be{unseen}long") == "be\ufffdlong"
    written = escaped(json.dumps(f"be{unseen}long", ensure_ascii=False))
    assert written.isascii()
    assert json.loads(written) == f"be{unseen}long"


def test_scripts_and_emoji_keep_their_joiners() -> None:
    for text in ("👨\u200d👩\u200d👧", "می\u200cخواهم", "a\u200f مرحبا", "1\ufe0f\u20e3"):
        assert visible(text) == text
