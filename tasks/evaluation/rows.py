"""The rows of an evaluation's files, and who is held against whom.

answers.jsonl, an answer a row:

    {"policy", "probe", "question_id", "prompt_id", "sample", "completion_id", "category", "prompt",
     "text", "finish_reason", "tokens", "reward", "kl", "score", "reason"}

* probe: "held-out" for prompts kept from training, else the name of a probe (see probes/).
* sample: number of the answer to its question, from 0.
* finish_reason: "stop" (ended by itself), "length" (cut at max_new_tokens), "too_long" (the prompt
  is longer than prompts may be; nothing was generated, and nothing is scored).
* tokens: generated tokens, the end-of-turn token included.
* reward, kl: see answers.py; of held-out answers, else null.
* score in [0, 1], reason: a probe's verdict in a number and in words; of a probe's answers, null
  where it cannot be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

ANSWERS = "answers.jsonl"
NLLS = "nlls.jsonl"
WINS = "wins.jsonl"
HELD_OUT = "held-out"
BASE, CHAMPION = "base", "champion"
PARENTS: Mapping[str, str] = MappingProxyType({"sft": BASE, "dpo": "sft", "ppo": "sft"})
_BEFORE_PROBES = {"probe": HELD_OUT, "sample": 0, "score": None, "reason": None}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSON object a line. ASCII: no odd line end in a text ends a row."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where an evaluation from before it was kept has no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """The answers of an evaluation, given its folder; those from before there were probes too."""
    rows = read_rows(folder / ANSWERS)
    return [_BEFORE_PROBES | {"question_id": row["prompt_id"]} | row for row in rows]


def read_nlls(folder: Path) -> dict[str, dict[str, float]]:
    """Mean negative log-probability a token of every passage, by policy and passage."""
    found: dict[str, dict[str, float]] = {}
    for row in read_rows(folder / NLLS):
        found.setdefault(row["policy"], {})[row["passage_id"]] = row["nll"]
    return found
