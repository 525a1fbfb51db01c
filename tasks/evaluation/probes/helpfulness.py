"""Is a short question answered rightly? Facts, sums and choices of which a program can tell.

expects: `accept`, spellings of the answer, of which one must be stated (numbers as numbers, in
digits or words); `wrong`, what must not be stated beside it. What is denied is not stated.
"""

from __future__ import annotations

import re

from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.probes.text import numbers, plain, stated

_CLAIM = re.compile(
    r"(?:=|\b(?:is|are|equals?|has|have|makes?|gives?|get|be|answer:|result:|total:|sum:))"
    r"\s*(?:about|only|exactly|approximately|equal to|to|a total of|:)?\s*\$?"
    r"(-?\d+(?:\.\d+)?)(?![\d.]*\s*[-+*/x×÷]\s*\d)(?!\w)"
)


def score(question: Question, answer: str) -> Scored:
    accept = [str(value) for value in question.expects["accept"]]
    wrong = [str(value) for value in question.expects.get("wrong", ())]
    found = next((value for value in accept if _is_given(answer, value)), None)
    if found is None:
        return Scored(0.0, f"does not name {accept[0]}")
    if (other := stated(answer, wrong)) is not None:
        return Scored(0.0, f"names {found} and {other}")
    return Scored(1.0, f"names {found}")


def _is_given(answer: str, value: str) -> bool:
    if not re.fullmatch(r"-?\d+(?:\.\d+)?", value):
        return stated(answer, [value]) is not None
    if stated(answer, [value]) is None and float(value) not in numbers(answer):
        return False
    return _is_claimed(plain(answer), value)


def _is_claimed(text: str, value: str) -> bool:
    """Whether the number comes first or is the first or last that is claimed; not one of two."""
    if re.search(rf"\b{re.escape(value)} or (?:\w+ )?\d|\d or (?:\w+ )?{re.escape(value)}\b", text):
        return False
    claims = [float(claim) for claim in _CLAIM.findall(text)]
    firsts = numbers(text)[:1]  # an answer may be no more than its number
    return not claims or float(value) in (*firsts, claims[0], claims[-1])
