"""The form that a prompt asks its answer to have: lists, sections, marked words, letters, signs.

Rules over the prompt's clauses, like those for JSON (`json_asked.py`), in English only. A clause
asks where it names a form ("as a bulleted list", "do not use any commas") and does not speak of
what is given, of code or of the form itself ("What is a bullet point?"); a form that it says not
to use is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from constitution.reading import Reading

_NUMBERS = {
    w: n for n, w in enumerate("one two three four five six seven eight nine ten".split(), 1)
}
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(_NUMBERS)})"
_GAP = r"[^.\n]{0,80}"
_CLAUSE = re.compile(r"(?<=[.!?:;])\s+|\n+|,? (?:but|and then)\b")
_NOT = re.compile(
    r"\b(?:don['’]?t|do not|not|never|no|without|avoid|instead of|rather than)\b", re.I
)
_OTHER = re.compile(
    r"\A(?:how|what|why|when|where|which|who|is|are|does|do you|did|should)\b"
    r"|\b(?:function|script|program|code|regex|css|html|latex)\b"
    r"|\b(?:given|written|stored|provided|following)\b[^\n]{0,20}\b(?:in|as|below|above|list)\b",
    re.I,
)


@dataclass(frozen=True)
class Demand:
    """One thing that is asked of a form. `count`: how many of it, None where that is open;
    `is_exact`: no more of them either.
    """

    form: str
    count: int | None = None
    is_exact: bool = False

    def is_kept_by(self, written: str) -> bool:
        found, least = _KEPT[self.form](written), self.count or _LEAST.get(self.form, 1)
        return found == least if self.is_exact else found >= least


def _asked(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.I)


_ASKED = {
    "bullets": _asked(
        rf"(?:{_COUNT} )?(?:(?:markdown|short|key) )?\bbullet(?:ed)? (?:points?|lists?)\b",
        r"\bbullets\b",
    ),
    "numbered": _asked(r"\bnumbered list\b"),
    "marked": _asked(
        rf"\b(?:highlight|emphasi[sz]e|(?:put|mark|set)\b{_GAP}\b(?:bold|italics?)\b)"
        rf"(?:{_GAP}?\b{_COUNT} (?:\w+ )?(?:sections?|words?|phrases?|parts?|terms?|names?))?",
        r"\b(?:bold|italic) (?:text )?(?:words?|phrases?)\b",
    ),
    "sections": _asked(
        rf"(?<!highlight )(?<!at least )\b{_COUNT} (?:\w+ )?(?:sections|parts|chapters)\b",
        r"\b(?:with|under) (?:\w+ )?headings\b",
    ),
    "divided": _asked(
        rf"(?:{_COUNT} {_GAP})?\bseparat\w+ {_GAP}\*\*\*",
        rf"\*\*\* {_GAP}\b(?:between|divider)\b",
    ),
    "no commas": _asked(
        r"\b(?:no|any|without|avoid\w*|us(?:e|ing)(?: of)?) (?:(?:the|use of|any) ){0,3}commas?\b"
    ),
    "lower case": _asked(
        r"\b(?:all|in|only|use) lower ?-?case\b", r"\b(?:no|any) capital letters\b"
    ),
    "capitals": _asked(
        r"\b(?:in|only|all) (?:all caps|(?:all )?capital letters|capitals|upper ?-?case)\b"
    ),
    "title": _asked(rf"\btitle\b{_GAP}<<", r"<<[^>\n]{0,80}title"),
    "quoted": _asked(rf"\b(?:wrap|put|enclose)\b{_GAP}\b(?:double )?(?:quotation marks|quotes)\b"),
    "postscript": _asked(r"\bpostscript\b", r"\bP\. ?S\."),
    "placeholders": _asked(
        rf"{_COUNT} {_GAP}\bplaceholders?\b", rf"\bplaceholders?\b{_GAP}\[[^\]\n]+\]"
    ),
}
_BANS = ("no commas", "lower case")  # their words say no themselves
_LEAST = {"numbered": 2, "sections": 2, "divided": 2}  # where no number is given


def _counting(expression: str) -> Callable[[str], int]:
    found = re.compile(expression, re.M)
    return lambda written: len(found.findall(written))


_headings = _counting(r"^#{1,6} +\S")
_numbered_parts = _counting(r"^\W{0,4}(?:[Ss]ection|SECTION|[Pp]art|PART|[Cc]hapter)\W{0,2}[\dIVX]")

# How often a form is found in an answer; of those that hold of the whole of it, once or not at all.
_KEPT: dict[str, Callable[[str], int]] = {
    "bullets": _counting(r"^\s{0,3}[-*+•‣◦▪●○■]\s+\S"),
    "numbered": _counting(r"^\s{0,3}\d{1,3}[.)]\s+\S"),
    "marked": _counting(r"\*\*[^*\n]+\*\*|(?<!\*)\*[^*\s][^*\n]*\*(?!\*)|__[^_\n]+__"),
    "sections": lambda written: max(_headings(written), _numbered_parts(written)),
    "divided": lambda written: sum(bool(part.strip()) for part in written.split("***")),
    "no commas": lambda written: "," not in written,
    "lower case": lambda written: written == written.lower(),
    "capitals": lambda written: written == written.upper(),
    "title": _counting(r"<<[^\n>]*\w[^\n>]*>>"),
    "quoted": lambda written: re.fullmatch(r'\s*"[^"]+"\s*', written) is not None,
    "postscript": _counting(r"^\s*P\. ?(?:P\. ?)?S\b"),
    "placeholders": _counting(r"\[[^\]\n]*\w[^\]\n]*\]"),
}


@lru_cache(maxsize=1024)
def asked_form(prompt: str) -> tuple[Demand, ...]:
    """What the prompt asks of its answer's form, each form once; () for nothing."""
    found: dict[str, Demand] = {}
    for clause in _CLAUSE.split(prompt):
        for form in _ASKED:
            if demand := _demand(form, clause.strip()):
                found.setdefault(form, demand)
    return tuple(found.values())


def keeps_form(answer: Reading, prompt: str) -> bool:
    """Whether the answer has all that is asked of its form."""
    return all(demand.is_kept_by(answer.written) for demand in asked_form(prompt))


def _demand(form: str, clause: str) -> Demand | None:
    asked = _ASKED[form].search(clause)
    if asked is None:
        return None
    said = clause[: asked.end()]
    if _OTHER.search(said) or (form not in _BANS and _NOT.search(said)):
        return None
    number = asked.groupdict().get("count")
    count = _NUMBERS.get(number.lower()) or int(number) if number else None
    before = clause[: asked.start("count")] if number else ""
    return Demand(form, count, re.search(r"\b(?:exactly|only|just)\s*\Z", before, re.I) is not None)
