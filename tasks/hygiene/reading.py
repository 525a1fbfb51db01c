"""A revision as its first and last sentence, each as the classes of its words.

What the prompt or the draft itself speaks of may be named: such words are of the class `ASKED`. So
are all words of a class that the prompt has a word of ("What is a good answer?"), and all telling
ones where the prompt wants a text changed or judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from tasks.hygiene.tags import LONGEST, OTHER, sentences, tagged, tagged_words, tokens
from tasks.hygiene.words import ABOUT_ANSWERS

ASKED = "asked"
REPLIES = frozenset({"ANSWER", "REPLY"})
OWN = REPLIES | {"TEXT", "MANNER"}  # words for what the sentence stands in
ACTS = frozenset({"REVISE", "REWRITE", "CHANGE"})
BETTER = ACTS | {"MORE", "NEW"}
JUDGED = frozenset({"FAULT", "LACKS", "OUGHT", "NEEDS"})
DEFINITE = frozenset({"THE", "THIS", "MY", "YOUR", "EARLIER", "WRITER"})
ADJECTIVES = frozenset({"REVISE", "NEW", "MORE"})  # as good as an article, just before the noun
VERBAL = frozenset({"OUGHT", "TO", "I", "NOT", "YOU", "USER", "WOULD"})  # "you should answer"
_TELLING = OWN | BETTER | {"FAULT", "CRITIQUE", "USER", "WRITER", "REQUEST", "EARLIER", "NOTE"}
_AS_ONE = (REPLIES, {"TEXT"}, {"CRITIQUE"}, {"REVISE"}, {"WRITER"}, {"USER"})
_SMALL = frozenset({OTHER, "THE", "A", "IT", "BUT", "IS", "#"})
CONSENTS = frozenset({"SURE", "HERE", "THANKS"})
SHORT = 3  # words of a first sentence that is read together with the next ("Sure!")
LABEL = 5  # words of a label at most
NEAR = 4  # words before a noun in which its article or adjective stands
END = 600  # characters at each end of a revision that are read
ASKED_IN = 4000  # characters of prompt and draft that are read
_WANTS_CHANGE = re.compile(
    r"\b(?:re-?writ|rephras|re-?word|revis|improv|edit\b|correct (?:this|the|my)|proofread|shorten|"
    r"simplif|polish|fix (?:this|the|my)|make (?:this|it|my|the)\b|translat|criti|feedback|evaluat|"
    r"assess|rate\b|judge|review (?:this|my|the)|wrong with|überarbeit|verbesser|korrigier|corrige|"
    r"améliore|mejora)",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"^[#>*_\-\s\[(]*([^\n:.!?*—]{3,50}?)[*_\])\s]*(?::|—|\n|[*_\])]+(?:\s|$)|$)"
)
_ASIDE = re.compile(r"(?:^|\s)[(\[*_]+([^()\[\]]+?)[)\]*_]+\W*$")


@dataclass(frozen=True)
class Sentence:
    """One sentence; `tags`: the classes of its words, in order."""

    text: str
    tags: tuple[str, ...] = ()
    label: tuple[str, ...] = ()  # those of the label it begins with ("**Revised answer:**")
    aside: tuple[str, ...] = ()  # those of the brackets it ends with ("(Revised for clarity.)")

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.tags)

    def has(self, *classes: str) -> bool:
        return not self.known.isdisjoint(classes)

    @cached_property
    def own(self) -> list[int]:
        """Where it names the answer it stands in: "the response", "my revised reply"."""
        return [at for at, tag in enumerate(self.tags) if tag in OWN and self._is_this(at)]

    def _is_this(self, at: int) -> bool:
        """Whether the noun there is a certain one, and not the version "of" something else."""
        previous, following = self.tags[at - 1] if at else "", self.tags[at + 1 : at + 5]
        if (
            previous in VERBAL
            or previous == "OTHERS"
            or (following[:1] == ("OF",) and not OWN & set(following))
        ):
            return False
        return previous in ADJECTIVES or not DEFINITE.isdisjoint(self.near(at))

    @cached_property
    def replies(self) -> list[int]:
        """Where it does so by a word that means nothing else ("response", not "sentence")."""
        return [at for at in self.own if self.tags[at] in REPLIES]

    def near(self, at: int) -> frozenset[str]:
        """The classes just before a word."""
        return frozenset(self.tags[max(0, at - NEAR) : at])

    def after(self, at: int) -> frozenset[str]:
        return frozenset(self.tags[at + 1 :])

    def is_subject(self, at: int) -> bool:
        """Whether nothing but small words stands before it."""
        return self.tags[:at].count(OTHER) <= 1

    def before(self, at: int) -> frozenset[str]:
        return frozenset(self.tags[:at])


@dataclass(frozen=True)
class Reader:
    """Reads sentences beside what was asked. `wants_change`: the prompt asks for a rewrite."""

    asked_words: frozenset[str]
    asked_classes: frozenset[str]
    wants_change: bool

    @classmethod
    def of(cls, prompt: str, draft: str) -> Reader:
        wanted = tokens(prompt[:ASKED_IN])
        tags = {ABOUT_ANSWERS[word] for word in wanted if word in ABOUT_ANSWERS}
        classes = frozenset(tag for group in _AS_ONE if tags & group for tag in group)
        words = frozenset(map(_stem, wanted)) | frozenset(map(_stem, tokens(draft[:ASKED_IN])))
        return cls(words, classes, bool(_WANTS_CHANGE.search(prompt)))

    def tags(self, text: str) -> tuple[str, ...]:
        found = list(tagged_words(tokens(text), ABOUT_ANSWERS))
        tags = [ASKED if self._is_asked(tag, word) else tag for tag, word in found]
        pairs = zip(["", *tags], tags, strict=False)
        return tuple("REPLY" if b == "REWRITE" and a in DEFINITE else b for a, b in pairs)

    def _is_asked(self, tag: str, word: str) -> bool:
        wanted = self.wants_change and tag not in ("USER", "WRITER", "REQUEST")
        named = wanted or tag in self.asked_classes or _stem(word) in self.asked_words
        return tag in _TELLING and named

    def sentence(self, text: str) -> Sentence:
        label, aside = _LABELLED.match(text), _ASIDE.search(text)
        words = self.tags(label[1]) if label else ()
        short = words if len(words) <= LABEL else ()
        return Sentence(text, self.tags(text), short, self.tags(aside[1]) if aside else ())


def is_bare(label: tuple[str, ...]) -> bool:
    """Whether a label says nothing else: at most one of its words is without a telling class."""
    return len([tag for tag in label if tag in _SMALL or tag == ASKED]) <= (len(label) > 2)


def ends(text: str) -> tuple[str, str]:
    """The first sentence, with the next where it is a mere "Sure!", and the last line or sentence.

    The last is empty where there is nothing after the first.
    """
    head, tail = sentences(text[:END]), sentences(text[-END:])
    if not head:
        return "", ""
    opening = tagged(tokens(head[0]), ABOUT_ANSWERS)
    count = 2 if len(opening) <= SHORT and len(head) > 1 and not CONSENTS.isdisjoint(opening) else 1
    first = " ".join(head[:count])
    if len(head) <= count and len(text) <= END:
        return first, ""
    line = text[-END:].rsplit("\n", 1)[-1].strip() if "\n" in text[-END:] else ""
    is_line = line and line not in first and len(tokens(line)) <= LONGEST
    return first, line if is_line else tail[-1]


def _stem(word: str) -> str:
    return word.removesuffix("'s").rstrip("s")
