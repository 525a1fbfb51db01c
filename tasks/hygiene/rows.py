"""Why one row should not be learned from: a fault of a revision, or of a pair's two ends.

| reason | the revision |
|---|---|
| too_long | was not written: its request did not fit the model |
| empty | holds nothing |
| truncated | was cut at the limit of tokens |
| instructions | says the step's instructions again: seven words in a row, or by `leak.py` |
| preamble, critique | talks about itself in place of, before or after the answer: see `leak.py` |
| copied_example | has seven words in a row of a worked example |
| repetition | goes round in a loop: see `same.py` |

Not among them, since a row may be good all the same: `same.is_unchanged` (an example, but no pair),
`refusal.is_refusal`, `switches_language` and `cut_alike`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from constitution.language import guess, is_written_in
from tasks.hygiene.leak import leak
from tasks.hygiene.same import is_loop

COPIED_WORDS = 7  # words in a row that nobody writes twice by chance
CUT = "length"  # the finish reason of an answer that was cut
LETTERS = 60  # of an answer whose language is looked at: shorter ones are often taken for another
_NAMES_A_LANGUAGE = re.compile(
    r"\b(?:translat\w+|language|english|french|german|spanish|italian|portuguese|dutch|polish|russian|"
    r"chinese|japanese|korean|arabic|hindi|turkish|latin|greek|swedish|übersetz\w*|deutsch|englisch|"
    r"tradu\w+|français|anglais|español|inglés)\b",
    re.IGNORECASE,
)

Phrases = frozenset[tuple[str, ...]]


def phrases(texts: Iterable[str]) -> Phrases:
    """Every run of seven words in the texts."""
    return frozenset(phrase for text in texts for phrase in _phrases(text))


def _phrases(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return zip(*(words[start:] for start in range(COPIED_WORDS)), strict=False)


_phrases_of = lru_cache(maxsize=256)(phrases)  # the same few requests come again and again


def fault(
    prompt: str,
    draft: str,
    revision: str,
    finish_reason: str = "stop",
    shown: Phrases = frozenset(),
    requests: tuple[str, ...] = (),
) -> str | None:
    """The reason of the table above, or None. `shown`: `phrases` of the worked examples;
    `requests`: what the model was told to do."""
    if finish_reason == "too_long":
        return "too_long"
    if not revision.strip():
        return "empty"
    if finish_reason == CUT:
        return "truncated"
    if requests and _repeats(revision, _phrases_of(requests), f"{prompt}\n{draft}"):
        return "instructions"
    if found := leak(prompt, draft, revision):
        return found
    if shown and not shown.isdisjoint(_phrases(revision)):
        return "copied_example"
    return "repetition" if is_loop(revision) else None


def _repeats(revision: str, requests: Phrases, given: str) -> bool:
    copied = requests.intersection(_phrases(revision))
    return bool(copied) and not copied <= phrases([given])


def cut_alike(chosen: str, rejected: str) -> bool:
    """Whether both answers of a pair ended alike, by their finish reasons.

    Where only one of them was cut at the limit, what a pair teaches is that cut is worse.
    """
    return (chosen == CUT) == (rejected == CUT)


def switches_language(prompt: str, draft: str, revision: str) -> bool:
    """Whether the revision is in another language than both its draft and its prompt.

    False where it is too short to tell or the prompt speaks of a language.
    """
    own = guess(revision, LETTERS)
    if own is None or _NAMES_A_LANGUAGE.search(prompt):
        return False
    was = is_written_in(draft, own)
    if was:
        return False
    asked = is_written_in(prompt, own)
    return not asked and False in (was, asked)
