"""In which language a text is written, by the library py3langid, whose model loads in 2 seconds."""

from __future__ import annotations

import re

# The languages of ISO 639-1 that the library knows.
LANGUAGES = frozenset(
    "af am an ar as az ba be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr fy ga gd "
    "gl gu ha he hi hr ht hu hy id ig is it ja jv ka kk km kn ko ku ky la lb lg ln lo lt lv mg mk "
    "ml mn mr ms mt my ne nl nn no oc om or pa pl ps pt qu ro ru rw sa se si sk sl sn so sq sr st "
    "sv sw ta te tg th tk tl tr tt ug uk ur uz vi vo wa xh yo zh zu".split()
)
# One language under several codes, or such that a page of one is easily taken for one of another.
_AS_ONE = ("en pcm", "no nb nn", "hr bs sr", "id ms", "zh yue wuu", "ar ary arz", "fa prs")
SHORTEST = 30  # letters of which a language can be told
_LETTERS_OF_A_SIGN = 3  # as many letters as a Chinese or Japanese sign, or a Korean syllable, holds
_SIGN = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]")
_SEEN = 4000  # characters that are looked at


def guess(text: str, shortest: int = SHORTEST) -> str | None:
    """The code of the text's language (ISO 639); None where it has fewer letters than that."""
    text = text[:_SEEN]
    if sum(map(str.isalpha, text)) + (_LETTERS_OF_A_SIGN - 1) * len(_SIGN.findall(text)) < shortest:
        return None
    from py3langid import classify

    return str(classify(text)[0])


def is_written_in(text: str, language: str) -> bool | None:
    """Whether the text is in the language (ISO 639-1); None where it is too short to tell."""
    found = guess(text)
    if found is None or found == language:
        return None if found is None else True
    return any({found, language} <= set(codes.split()) for codes in _AS_ONE)
