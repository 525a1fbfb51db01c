"""Rows that are not used are counted, and only the first of a reason kept."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from tasks.judging.demonstrations import read_demonstrations
from tasks.judging.gold import read_judged
from tasks.prompts import read_prompts
from tasks.prompts.left_out import KEPT, rows_in

PROMPT = '{"prompt": "What is the capital of Spain?"}'
ANSWER = '{"prompt": "What is the capital of Spain?", "response": "Madrid."}'
PAIR = '{"prompt": "What is the capital of Spain?", "chosen": "Madrid.", "rejected": "Rome."}'
READERS = {
    "prompts": (PROMPT, lambda path: read_prompts(str(path), 48).exclusions, "duplicate"),
    "demonstrations": (ANSWER, lambda path: read_demonstrations(str(path))[1], "duplicate"),
    "pairs": (PAIR, lambda path: read_judged(str(path))[1], "malformed"),
}


def source(path: Path, good: str, reason: str, copies: int) -> Path:
    other = good if reason == "duplicate" else '{"nothing": 1}'
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(f"{good}\n" + f"{other}\n" * copies + "[]\n")
    return path


@pytest.mark.parametrize("kind", READERS)
def test_every_row_counts_and_few_are_kept(kind: str, tmp_path: Path) -> None:
    good, read, reason = READERS[kind]
    found = read(source(tmp_path / "rows.jsonl.gz", good, reason, KEPT + 500))
    assert rows_in(found) == KEPT + 501
    kept = Counter(row.reason for row in found)
    assert kept[reason] <= KEPT + 2
    (rest,) = [row for row in found if row.rows > 1]
    assert rest.reason == reason
    assert rest.line == KEPT + 2 if reason == "duplicate" else rest.line > KEPT
    assert rest.detail.startswith(f"{rest.rows} rows from here on: ")


def test_memory_does_not_grow_with_them(tmp_path: Path) -> None:
    def peak(copies: int) -> int:
        path = source(tmp_path / f"{copies}.jsonl.gz", PROMPT, "duplicate", copies)
        tracemalloc.start()
        batch = read_prompts(str(path), 48)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rows_in(batch.exclusions) == copies + 1
        return found

    peak(10)
    assert peak(6 * KEPT) < 1.2 * peak(2 * KEPT)
