"""Prompts that ask for a JSON object, and prompts that only speak of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from constitution.json_asked import asks_for_json

IFEVAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ifeval_a.jsonl"


@pytest.mark.parametrize(
    "prompt",
    [
        'Give me a JSON object with the keys "city" and "country" for Paris.',
        "What is the capital of France? Answer in JSON.",
        "List three colours as a valid JSON object",
        "Return a JSON object with the keys name and code.",
        "JSON only: who wrote Faust",
        "Your entire output should just contain a JSON block, nothing else.",
        "Can you give me this in json?",
        "Translate this.\nReply with JSON.",
    ],
)
def test_prompts_that_ask_for_json(prompt: str) -> None:
    assert asks_for_json(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "What is JSON?",
        "How do I store dates in JSON?",
        "Explain how to write dates in JSON.",
        "Write a Python function that returns JSON.",
        "Write a JSON parser.",
        "Return the answer as a JSON array of integers.",
        "Do not mention Jason.",
    ],
)
def test_prompts_that_do_not(prompt: str) -> None:
    assert not asks_for_json(prompt)


@pytest.mark.skipif(not IFEVAL.exists(), reason="the shared data are not here")
def test_json_is_asked_for_as_ifeval_says() -> None:
    rows = [json.loads(line) for line in IFEVAL.read_text("utf-8").splitlines()]
    wanted = [any("json" in name for name in row["instruction_id_list"]) for row in rows]
    found = [asks_for_json(row["prompt"]) for row in rows]
    assert sum(wanted) >= 5
    assert all(f for f, w in zip(found, wanted, strict=True) if w)
    extra = [r["prompt"] for r, f, w in zip(rows, found, wanted, strict=True) if f and not w]
    assert all("should just contain a JSON code block" in prompt for prompt in extra)
