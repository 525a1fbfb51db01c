"""Does an answer hold a list or a heading: those of Markdown, and those that only look so."""

from __future__ import annotations

import itertools
import re
import string
import unicodedata

from constitution.reading import Reading

_BULLET = re.compile(r"\s*[•‣⁃◦·∙▪●○■□◆➤➢]\s+\S")
_NUMBERED = re.compile(
    r"\s*[(（［\[]?(\d{1,3}|[a-z]|[ivx]{1,5}|[一二三四五六七八九十])[.)）\]］、．]\s*\S", re.I
)
_CIRCLED = re.compile(r"\s*([①-⑳❶-❿])")
_SIGN = re.compile(r"\s*([^\w\s])\ufe0f?\s+\S")
_OF_TALK = "—―¿¡\"'“«„"  # signs that begin lines of talk, or the name below a quotation
_ROMAN = "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv".split()
_LETTERS = tuple(string.ascii_lowercase)
_CHINESE = tuple("一二三四五六七八九十")

Mark = tuple[str, int]  # a way of counting and the place in it; a sign that does not count


def has_list_or_heading(answer: Reading) -> bool:
    """Whether there is a heading, a list, a line with a bullet, or two lines that count by hand."""
    if answer.has_list or any(block.kind == "heading" for block in answer.blocks):
        return True
    lines = [line for line in answer.text.splitlines() if line.strip()]
    if any(_BULLET.match(line) for line in lines):
        return True
    heads = [_marks(line) for line in lines]
    return any(_next(here) & below for here, below in itertools.pairwise(heads))


def _next(marks: set[Mark]) -> set[Mark]:
    """The marks that the line below bears in the same list."""
    return {(kind, place if kind == "sign" else place + 1) for kind, place in marks}


def _marks(line: str) -> set[Mark]:
    """What the head of a line may be as the mark of an item."""
    if found := _NUMBERED.match(line):
        mark = found[1].lower()
        if mark.isdecimal():
            return {("number", int(mark))}
        ways = (("letter", _LETTERS), ("roman", _ROMAN), ("chinese", _CHINESE))
        return {(kind, counted.index(mark)) for kind, counted in ways if mark in counted}
    if found := _CIRCLED.match(line):
        return {("circled", ord(found[1]))}
    found = _SIGN.match(line)
    if found and found[1] not in _OF_TALK and unicodedata.category(found[1])[0] in "SP":
        return {("sign", ord(found[1]))}
    return set()
