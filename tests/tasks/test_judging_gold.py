"""Gold pairs: every form that is read, what is refused, and gold from checks by program."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constitution.load import load, resolve
from storage.errors import InputError
from tasks.generation.calls import Answer
from tasks.judging.gold import graded, read_gold, read_judged
from tasks.prompts import Prompt

LLMBAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "llmbar_natural.json"


def written(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def scored(text: str, score: float) -> dict[str, Any]:
    return {"response": text, "overall_score": score}


def test_every_form_is_read(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Why?"}]
    said = [*talk, {"role": "assistant", "content": "So."}]
    hh = "\n\nHuman: Why?\n\nAssistant: "
    path = written(
        tmp_path,
        {"input": "Why?", "output_1": "So.", "output_2": "No.", "label": 2},
        {"prompt": "Why?", "first": "So.", "second": "No.", "label": "first", "principle": "x"},
        {"prompt": "Why?", "first": "So.", "second": "No.", "label": "2"},
        {"messages": talk, "chosen": "So.", "rejected": "No."},
        {"prompt": talk, "chosen": said, "rejected": " No.\n"},
        {"chosen": f"{hh}So.", "rejected": f"{hh}No."},
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "So."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {
            "input": {"messages": talk, "tools": []},
            "preferred_output": said[1:],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
        {"question": "Why?", "response_j": "So.", "response_k": "No."},
        {"prompt": "Why?", "response_0": "So.", "response_1": "No.", "better_response_id": 0},
        {"prompt": "Why?", "response_a": "So.", "response_b": "No.", "winner": "model_a"},
        {
            "conversation_a": said,
            "conversation_b": [*talk, {"role": "assistant", "content": "No."}],
            "winner": "model_a",
        },
        {
            "instruction": "Why?",
            "completions": [scored("No.", 1), scored("?", 2), scored("So.", 3)],
        },
        {"question": "Why?", "chosen": "So.", "rejected": "No."},
    )
    found = read_gold(path)
    assert {pair.first.text for pair in found} == {"So."}
    assert {pair.second.text for pair in found} == {"No."}
    assert [pair.is_first_better for pair in found] == [False, True, False] + [True] * 11
    assert [pair.principle for pair in found] == [None, "x"] + [None] * 12
    assert all(pair.prompt.messages == tuple(talk) for pair in found)
    assert [pair.prompt.line for pair in found] == list(range(1, 15))


GOOD = {"prompt": "Why?", "first": "So.", "second": "No.", "label": 1}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (GOOD | {"label": 3}, "`label` is 3, not 1, 2, first or second"),
        (GOOD | {"label": True}, "`label` is True"),
        (GOOD | {"label": None}, "`label` is None"),
        (GOOD | {"label": 1.0}, "`label` is 1.0"),
        (GOOD | {"label": ["first"]}, "`label` is"),
        (GOOD | {"second": "So. "}, "both responses are the same"),
        (GOOD | {"second": " "}, "`second` is empty"),
        (GOOD | {"second": []}, "`second` does not end with the assistant's turn"),
        (
            {"chosen": "Human: a\n\nAssistant: b", "rejected": "Human: c\n\nAssistant: d"},
            "`chosen` and `rejected` answer different conversations",
        ),
        ({"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 2}, "0 or 1"),
        ({"prompt": "a", "response_a": "b", "response_b": "c", "winner": "tie"}, "a, b, model_a"),
        ({"prompt": "a", "completions": [{"response": "b"}]}, "`completions` must be two or more"),
        (
            {"prompt": "a", "completions": [{"response": t, "overall_score": 1} for t in "bc"]},
            "no `overall_score` is the highest",
        ),
        (GOOD | {"principle": 5}, "`principle` must be a slug"),
        ({"prompt": "Why?", "chosen": "So."}, "needs chosen and rejected, or first, second"),
        ({"first": "So.", "second": "No.", "label": 1}, "no known column"),
        (
            {"prompt": "Why?", "chosen": [{"role": "user", "content": "So."}], "rejected": "No."},
            "`chosen` does not end with the assistant's turn",
        ),
        ([1], "a row must be an object"),
    ],
)
def test_a_row_that_is_no_gold_pair_is_named(tmp_path: Path, row: Any, rule: str) -> None:
    path = written(tmp_path, GOOD, row)
    with pytest.raises(InputError) as caught:
        read_gold(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="holds no gold pair"):
        read_gold(path)
    path.write_text('[{"prompt"', encoding="utf-8")
    with pytest.raises(InputError, match=str(path)):
        read_gold(path)
    with pytest.raises(InputError, match="is not a file that exists"):
        read_gold(tmp_path / "gone.json")


def test_checks_by_program_give_gold() -> None:
    checkable = load(resolve("checkable"))
    short, json_only = (checkable.principle(s) for s in ("short-opening", "json-when-asked"))
    prompt = Prompt(({"role": "user", "content": "Why is the sky blue?"},), "c", "file", 1)
    kept, other = (
        Answer(f"cmp_{n}", t, "stop", 1) for n, t in enumerate(["In short, air.", "Air."])
    )
    asked = [
        (prompt, short, kept, other),
        (prompt, short, other, kept),
        (prompt, short, kept, kept),  # both keep it
        (prompt, short, other, other),  # both break it
        (prompt, json_only, kept, other),  # no JSON was asked for
    ]
    found = list(graded(asked))
    assert [(pair.first, pair.is_first_better) for pair in found] == [(kept, True), (other, False)]
    assert {pair.principle for pair in found} == {"short-opening"}
    assert len({pair.pair_id for pair in found}) == 2


def test_llmbar_is_read() -> None:
    if not LLMBAR.is_file():
        pytest.skip("shared/data is not there")
    found = read_gold(LLMBAR)
    assert len(found) == 100
    assert sum(pair.is_first_better for pair in found) == 42


def test_responses_are_read_without_their_thoughts(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "<think>\nhm\n</think>\n\nSo.", "rejected": "hm</think>No."}
    (found,) = read_gold(written(tmp_path, row))
    assert (found.first.text, found.second.text) == ("So.", "No.")
    with pytest.raises(InputError, match="a response is a thought without an answer"):
        read_gold(written(tmp_path, row | {"chosen": "<think>hm"}))


JUDGED = {
    "hh_harmless-base_pairs.jsonl.gz": (1372, {"malformed": 3, "empty": 2}),
    "hh_helpful-base_pairs.jsonl.gz": (1424, {"malformed": 10, "empty": 2}),
    "dpo_en_demo.json": (299, {}),
    "llmbar_natural.json": (100, {}),
}


@pytest.mark.skipif(not LLMBAR.is_file(), reason="shared/data is not there")
@pytest.mark.parametrize("name", JUDGED)
def test_real_sets_of_pairs_are_read_and_what_is_left_out_is_told(name: str) -> None:
    pairs, left_out = read_judged(LLMBAR.parent / name)
    usable, reasons = JUDGED[name]
    assert len(pairs) == usable
    assert Counter(row.reason for row in left_out) == reasons


columns = st.sampled_from("prompt chosen rejected first second label completions".split())
texts = st.sampled_from(["a", "b", "Human: a\n\nAssistant: b", " "])
values = texts | st.lists(st.builds(scored, texts, st.floats()), max_size=3) | st.integers(0, 3)


@given(st.lists(st.dictionaries(columns, values, max_size=4), min_size=1, max_size=4))
@settings(deadline=None)
def test_rows_in_are_pairs_and_exclusions(found: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), *found, GOOD)
        pairs, left_out = read_judged(path)
    assert len(pairs) + len(left_out) == len(found) + 1
