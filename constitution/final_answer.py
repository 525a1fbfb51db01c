"""Is an answer's last word the right one: a number, or a text.

The final answer stands in the last `\\boxed{…}`, else after the last "answer is" or "answer:", else
it is the last line. Of several numbers the last in a line counts; after such words the first, or
the one after "=". Numbers are equal within 1e-6; texts where only case, white space and the signs
around them differ.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, DecimalException

from constitution.reading import Reading, is_looked_through

TOLERANCE = Decimal("1e-6")
_BOXED = re.compile(r"\\boxed\{([^{}\n]*)\}")
_ANNOUNCED = re.compile(
    r"\banswer(?: to [^.\n:]{1,80}?)?(?: is|:)(?: (?:option|choice)\b)?"
    r"|\b(?:antwort|lösung)(?: ist| lautet|:)|\bréponse(?: est| ?:)|\brespuesta(?: es|:)"
    r"|\bответ:?|答案(?:是|为)?|答え(?:は|:)|الجواب(?: هو|:)|الإجابة(?: هي|:)|उत्तर(?: है)?",
    re.I,
)
_CLAUSE = re.compile(r"[,;.!?](?=\s|$)|[。，；！]|\s(?:because|since|as|which)\s")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:([,.'_ ])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")
_NUMBER = re.compile(
    r"(?<![A-Za-z\d.,/])[-+]?"
    r"(?:[1-9]\d{0,2}(?P<by>[,.'_ ])\d{3}(?:(?P=by)\d{3})*(?![\d])(?:[.,]\d+)?"
    r"|\d+(?:[.,]\d+)?(?:e[-+]?\d{1,4}\b)?|\.\d+)"
    r"(?:/\d+)?",
    re.I,
)
_DENIED = re.compile(r"(?:\bnot|n't)\W*$", re.I)
_COPULA = re.compile(r"(?:です|でした|である|だ|입니다|이다)$| (?:है|हैं)$")  # at a sentence's end
_AS_ASCII = str.maketrans(
    {"−": "-", "＋": "+", "٫": ".", "٬": ",", "’": "'", "⁄": "/", "：": ":"}
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
)
_AROUND = frozenset(".,;:!?。，；：！？،؛؟।")


def is_answer(reading: Reading, expected: str) -> bool:
    """Whether the final answer is the expected one."""
    text, expected = reading.with_code.translate(_AS_ASCII), expected.translate(_AS_ASCII)
    announced = _announced(text)
    line = announced if announced is not None else _last_line(text)
    wanted = number(expected)
    if wanted is None:
        is_written = _core(_last_line(reading.written)) == _core(expected)
        return is_written or _is_text(line, expected, is_announced=announced is not None)
    if announced is not None:
        line = _CLAUSE.split(line)[0].rpartition("=")[2]
    found = list(_NUMBER.finditer(line))
    if not found:
        return False
    chosen = found[-1 if announced is None else 0]
    value = number(chosen[0])
    is_denied = _DENIED.search(line[: chosen.start()]) is not None
    return value is not None and abs(value - wanted) <= TOLERANCE and not is_denied


def number(text: str) -> Decimal | None:
    """Read a number with or without separators of thousands, or a fraction; None for other text."""
    above, _, below = text.translate(_AS_ASCII).strip().partition("/")
    if grouped := _GROUPED.fullmatch(above):
        separator, end = grouped[1], grouped.end(1) + 3
        if separator != "." or len(above) > end:  # one dot begins the decimals
            tail = above.rpartition(separator)[2]
            above = above[: -len(tail)].replace(separator, "") + tail
    try:
        value = Decimal(above.replace(",", "."))
        value = value / Decimal(below) if below else value
    except DecimalException:
        return None
    return value if value.is_finite() else None


def _announced(text: str) -> str | None:
    """What the answer says its answer is: the rest of the line, or the line below."""
    if boxed := _BOXED.findall(text):
        return str(boxed[-1])
    end = next((match.end() for match in reversed([*_ANNOUNCED.finditer(text)])), None)
    if end is None:
        return None
    rest = text[end:].lstrip(": \n")
    return rest.partition("\n")[0] or None


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _is_text(line: str, expected: str, is_announced: bool) -> bool:
    line, expected = _core(_COPULA.sub("", _core(line))), _core(expected)
    if line == expected or not is_announced:
        return line == expected
    after = line[len(expected) :]
    return (
        line.startswith(expected)
        and (after[0] in _AROUND or is_looked_through(after[0]))
        and (not after[0].isspace() or _CLAUSE.match(after) is not None)
    )


def _core(text: str) -> str:
    """The text in lower case without the signs around it."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    inner = [n for n, c in enumerate(text) if c not in _AROUND and not is_looked_through(c)]
    return text[inner[0] : inner[-1] + 1] if inner else text
