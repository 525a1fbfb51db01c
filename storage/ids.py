"""Everything is named by its content.

`content_id(kind, value)` is a short prefix that says what the thing is, then BLAKE2b-128 (RFC 7693)
of the value's canonical JSON. Two processes, machines or versions of Python give the same id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

PREFIXES = {
    "run": "run",
    "constitution": "con",
    "principle": "prn",
    "model": "mdl",
    "prompt": "prm",
    "completion": "cmp",
    "revision": "rev",
    "example": "exm",
    "comparison": "cpr",
    "verdict": "vrd",
    "subject": "sbj",
    "pair": "par",
    "label": "lbl",
    "dataset": "dst",
    "checkpoint": "ckp",
    "evaluation": "evl",
    "question": "qst",
    "few_shot": "few",
    "passage": "psg",
    "set": "set",
}
_ENCODER = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
)
_ID = re.compile(rf"(?:{'|'.join(PREFIXES.values())})_[0-9a-f]{{32}}")
SHORT_DIGITS = 8
KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. NaN and infinities are refused (ValueError)."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def digest(data: bytes) -> str:
    """BLAKE2b-128 of bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def content_id(kind: str, value: Any) -> str:
    """The id of `value` as a `kind`: three letters, an underscore, 32 hexadecimal digits."""
    return f"{PREFIXES[kind]}_{digest(canonical_json(value))}"


def kind_of(row_id: str) -> str | None:
    """What an id names, by its prefix; None where it is no id of ours."""
    return KINDS.get(row_id.split("_", 1)[0]) if "_" in row_id else None


def is_id(text: str) -> bool:
    """Whether a text has the form of an id; only such a text may become part of a path."""
    return _ID.fullmatch(text) is not None


def short(row_id: str) -> str:
    """An id as people see it, prefix and 8 digits, which commands take as well; else the text."""
    return row_id[: row_id.index("_") + 1 + SHORT_DIGITS] if is_id(row_id) else row_id


def shortened(text: str) -> str:
    """A text with every whole id in it short. Not for paths, nor for what a machine reads."""
    return re.sub(rf"\b{_ID.pattern}\b", lambda found: short(found[0]), text)


def seed_of(row_id: str) -> int:
    """The first 64 bits of an id's digest: the seed of every draw that belongs to that row."""
    return int(row_id.rpartition("_")[2][:16], 16)


def dataset_id(kind: str, training: Iterable[str], held_out: Iterable[str] = ()) -> str:
    """The id of a set of rows and its split: order does not matter, and a row counts once."""
    return content_id("dataset", [kind, sorted(set(training)), sorted(set(held_out))])
