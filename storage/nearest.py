"""The name that someone probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.6  # of 1: how alike two names must be (difflib's ratio)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name most like `word`, whatever their case; None where none is like it."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=ALIKE)
    return names[found[0]] if found else None


def meant(word: str, known: Iterable[str], fix: str) -> str:
    """The end of an error about an unknown name: the one that is probably meant, then the fix."""
    found = nearest(word, known)
    return f"did you mean {found}? Or {fix}" if found else fix
