"""The ids of completions made anew, many at a time: the worked examples before a request are hashed
once, as when the call was made (tasks/generation/calls.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import Any

from storage.ids import PREFIXES, canonical_json
from storage.ledger import Ledger

COLUMNS = """
    completion_id, few_shot_id, request::VARCHAR, model_id, temperature, top_p, sample_index"""
START = b'{"messages":['


def completion_rows(ledger: Ledger, parts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Of each part (a condition on rows) how many rows it has, and the ids that are not theirs."""
    hashes = Hashes(ledger)
    for part in parts:
        with ledger.transaction() as con:
            rows = con.execute(f"SELECT {COLUMNS} FROM completions WHERE {part}").fetchall()
        yield len(rows), [row[0] for row in rows if not hashes.is_own(*row)]


class Hashes:
    """What is hashed of every completion, by the parts that many of them share."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._before = cache(self._hash_of_examples)

    def is_own(
        self,
        completion_id: str,
        few_shot_id: str | None,
        request: str,
        model_id: str,
        temperature: float,
        top_p: float,
        sample_index: int,
    ) -> bool:
        """Whether the id is that of the request. As a request is canonical JSON as it is kept, and
        a number with its point, that is tried first.
        """
        before = self._before(few_shot_id)
        if before is None:  # the examples are gone, which is said of the key
            return True
        end = completion_id.partition("_")[2]
        if (
            _digest(before, request.encode(), _after(model_id, temperature, top_p, sample_index))
            == end
        ):
            return completion_id.startswith(PREFIXES["completion"])
        return self._is_any(before, request, end, (model_id, temperature, top_p, sample_index))

    def _is_any(self, before: Any, request: str, end: str, how: tuple[Any, ...]) -> bool:
        """Whether it is that of the same request, written in any other way."""
        model_id, temperature, top_p, sample_index = how
        try:
            asked = canonical_json(json.loads(request))
        except (ValueError, RecursionError):
            return False
        numbers = product(_written(temperature), _written(top_p))
        return any(
            _digest(before, asked, _after(model_id, *pair, sample_index)) == end for pair in numbers
        )

    def _hash_of_examples(self, few_shot_id: str | None) -> Any:
        """The hash so far; None where the examples are not there, or cannot be read."""
        state = hashlib.blake2b(START, digest_size=16)
        if few_shot_id is None:
            return state
        sql = "SELECT messages::VARCHAR AS messages FROM few_shots WHERE few_shot_id = ?"
        found = self._ledger.query(sql, [few_shot_id])
        try:
            for message in json.loads(found[0]["messages"]) if found else ():
                state.update(canonical_json(message) + b",")
        except (ValueError, TypeError, RecursionError):
            return None
        return state if found else None


def _digest(before: Any, request: bytes, after: bytes) -> str:
    state = before.copy()
    state.update(request[1:])
    state.update(after)
    return str(state.hexdigest())


def _written(value: float) -> list[float]:
    return [value, int(value)] if value.is_integer() else [value]


@lru_cache(maxsize=None, typed=True)  # 1 is written in another way than 1.0
def _after(model_id: str, temperature: float, top_p: float, sample_index: int) -> bytes:
    """What follows the messages in the JSON that is hashed; no step has stop strings."""
    rest = {
        "model": model_id,
        "sample_index": sample_index,
        "stop": [],
        "temperature": temperature,
        "top_p": top_p,
    }
    return b"," + canonical_json(rest)[1:]
