"""How many words and sentences a text has, in the scripts of the world.

Words stand between white space, long dashes, and commas that part no number. A script without
spaces has none such: there each Chinese or Japanese sign is a word (a run of katakana one), and in
Thai, Lao, Khmer and Burmese, whose words only a dictionary finds, four signs are taken for one.

Sentences are those of the library sentencex, whose lists of abbreviations go by language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from math import ceil

from constitution.language import guess
from constitution.reading import Reading, is_looked_through

HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u309f"
KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
WITHOUT_SPACES = "\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17d3"  # Thai to Khmer
UNSPACED = f"{HAN}{KANA}{KATAKANA}{WITHOUT_SPACES}"
LETTERS_OF_A_WORD = 4  # in scripts without spaces that are not counted sign by sign

_SIGN = re.compile(rf"[{HAN}{KANA}]|[{KATAKANA}]+")
_UNDIVIDED = re.compile(rf"[{WITHOUT_SPACES}]+")
_BETWEEN = re.compile(r"[\s\u2014\u2015…]+|[,;،؛，、；](?!\d)|(?<!\d)[,;،؛，、；]")

STOPS = ".!?…؟;።፧。！？⁇⁈⁉‽।॥։۔။។᙮"
QUESTIONS = frozenset("?؟？⁇⁈⁉‽፧")
_GREEK_QUESTION = re.compile(r"(?<=[\u0370-\u03ff\u1f00-\u1fff]);")
_ARMENIAN_QUESTION = "\u055e"  # stands within the word that is asked for
_EMOTICON = re.compile(r"(?<=[\s.!?])[:;=8]['-]?[)(DPp/|*]\s*$")
_ELLIPSIS = re.compile(r"…(?=\s+(\w))")
SHORTEST_SPLIT = 20  # letters of a text that is split by its own language, not as English
_WINDOW = 2000  # characters that are split at once: sentencex compares every quote with every other
_QUOTED = re.compile(r"[」』”’》）]$")  # the end of a quote, as Chinese and Japanese write it
_ABBREVIATED = re.compile(r"(?:^|\W)[^\W\d_]\.\s+$")  # one letter and a stop
_THAI_OR_LAO = re.compile(r"[\u0e01-\u0e5b\u0e81-\u0edf]")


def words(text: str) -> int:
    """Count the words of a text."""
    count = len(_SIGN.findall(text))
    text = _SIGN.sub(" ", text)
    count += sum(ceil(len(run) / LETTERS_OF_A_WORD) for run in _UNDIVIDED.findall(text))
    pieces = _BETWEEN.split(_UNDIVIDED.sub(" ", text))
    return count + sum(any(map(str.isalnum, piece)) for piece in pieces)


@lru_cache(maxsize=64)
def sentences(reading: Reading) -> tuple[str, ...] | None:
    """The sentences outside of code and headings, the last of a block perhaps without its end.

    None for Thai and Lao, which part sentences by a space, if at all.
    """
    blocks = [block.text for block in reading.blocks if block.kind == "text"]
    whole = "\n".join(blocks)
    if 2 * len(_THAI_OR_LAO.findall(whole)) > sum(map(str.isalpha, whole)):
        return None
    language = _language(whole)
    found = (sentence for block in blocks for sentence in _split(block, language))
    return tuple(sentence for sentence in found if any(map(str.isalpha, sentence)))


def ends(sentence: str) -> bool:
    """Whether a sentence comes to its end."""
    return _stops(sentence) != ""


def asks(text: str) -> bool:
    """Whether a text ends with a question mark, or with several stops of which one is such."""
    text = _EMOTICON.sub("", text)
    if not QUESTIONS.isdisjoint(_stops(_GREEK_QUESTION.sub("?", text))):
        return True
    return _ARMENIAN_QUESTION in re.split(r"[։:.]\s+", text)[-1]


def _stops(text: str) -> str:
    """The stops with which a text ends; quotes, brackets, emoji are looked through."""
    end = next((n for n in range(len(text), 0, -1) if not is_looked_through(text[n - 1])), 0)
    return text[len(text[:end].rstrip(STOPS)) : end]


def _language(text: str) -> str:
    """The language by whose abbreviations the text is split."""
    if guessed := guess(text, SHORTEST_SPLIT):
        return guessed
    script = unicodedata.name(next(filter(str.isalpha, text), "a"), "").split(" ")[0]
    return {"GREEK": "el", "CYRILLIC": "ru"}.get(script, "en")


def _split(text: str, language: str) -> list[str]:
    """Split a text into sentences, and mend what sentencex parts wrongly."""
    text = _ELLIPSIS.sub(lambda found: "." if found[1].isupper() else "…", text.strip())
    text = _GREEK_QUESTION.sub("?", text).replace("។", "。")
    mended: list[str] = []
    for piece in _pieces(text, language):
        before = mended[-1] if mended else ""
        is_told = _QUOTED.search(before) and (before[0] in "「『“‘《（" or piece[0] in "とっ")
        is_abbreviated = _ABBREVIATED.search(before) and piece[0].islower()
        is_cut = len(before) >= _WINDOW and not ends(before[-_WINDOW:])
        if (is_told and piece[0].isalpha()) or is_abbreviated or is_cut:
            mended[-1] += piece
        else:
            mended.append(piece)
    return mended


def _pieces(text: str, language: str) -> Iterator[str]:
    """What sentencex finds, window by window."""
    from sentencex import segment

    while text:
        found = [piece for piece in segment(language, text[:_WINDOW]) if piece]
        if len(text) > _WINDOW and len(found) > 1:
            found.pop()  # it may go on
        yield from found
        text = text[sum(map(len, found)) :]
