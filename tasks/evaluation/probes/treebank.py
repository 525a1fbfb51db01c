"""Words as NLTK's word tokenizer parts them: the rules of the Penn Treebank, as far as they part
words that hold letters. What is left of punctuation is not given.

https://www.nltk.org/api/nltk.tokenize.treebank.html: text is parted at white space, quotes,
brackets, commas, double dashes and most signs, not at hyphens; contractions are two words
("DON'T" is DO and N'T, "CANNOT" CAN and NOT).
"""

from __future__ import annotations

import re

_SIGNS = re.compile(r"[\"“”‘’„«»(){}\[\]<>;@#$%&?!*`]|--|[–—]|\.\.\.|''|[:,](?!\d)")
_ENDINGS = re.compile(r"(?i)(?<=[^' ])('(?:s|m|d|ll|re|ve)|n't)(?=$)|(?<=[^' ])'$")
_TWO = re.compile(
    r"(?i)^(?:(can)(not)|(d)('ye)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(more)('n)|(wan)(na)|"
    r"('t)(is)|('t)(was))$"
)


def words_as_nltk(text: str) -> list[str]:
    """The words of a text that hold a letter or digit, in order."""
    found: list[str] = []
    for piece in _SIGNS.sub(" ", text).split():
        if two := _TWO.match(piece):
            found += [part for part in two.groups() if part]
            continue
        ending = _ENDINGS.search(piece)
        found += [piece[: ending.start()], ending[0]] if ending else [piece]
    return [word for word in found if any(map(str.isalnum, word))]
