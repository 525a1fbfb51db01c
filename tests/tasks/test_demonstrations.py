"""Sets of prompts with a good answer: every form that is read, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError
from tasks.chat.think import Thinking
from tasks.judging.demonstrations import read_demonstrations
from tasks.judging.gold import read_judged

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
QUESTION = {"role": "user", "content": "Why?"}
SAID = [QUESTION, {"role": "assistant", "content": "So."}]
SHARED = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
HH = "\n\nHuman: Why?\n\nAssistant: "
FORMS: dict[str, dict[str, Any]] = {
    "trl, turns": {"prompt": [QUESTION], "completion": SAID[1:]},
    "trl, texts": {"prompt": "Why?", "completion": " So.\n"},
    "openai": {"messages": SAID},
    "sharegpt": {"conversations": SHARED},
    "sharegpt, with a union of forms": {"messages": None, "conversations": SHARED},
    "alpaca": {"instruction": "Why?", "input": "", "output": "So."},
    "plain": {"question": "Why?", "answer": "So."},
    "plain, capitals": {"Question": "Why?", "Answer": "So."},
    "self-instruct": {"instruction": "Why?", "instances": [{"input": "", "output": "So."}]},
    "hh": {"chosen": f"{HH}So.", "rejected": f"{HH}No."},
    "ultrafeedback": {"prompt": "Why?", "chosen": SAID, "rejected": SAID[:1], "messages": SAID},
    "a pair by number": {
        "prompt": "Why?",
        "response_0": "No.",
        "response_1": "So.",
        "better_response_id": 1,
    },
    "a transcript": {"text": f"{HH}So."},
}


def written(tmp_path: Path, *rows: Any) -> str:
    path = tmp_path / "shown.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path: Path, form: str) -> None:
    (found,), left_out = read_demonstrations(written(tmp_path, FORMS[form]))
    assert (found.prompt.messages, found.response) == ((QUESTION,), "So.")
    assert left_out == []


def test_the_turns_before_the_last_question_are_the_prompt(tmp_path: Path) -> None:
    talk = [*SAID, {"role": "user", "content": "Why so?"}, {"role": "assistant", "content": "Ah."}]
    (found,), _ = read_demonstrations(written(tmp_path, {"messages": talk}))
    assert (len(found.prompt.messages), found.response) == (3, "Ah.")


BAD = {
    "no answer": {"prompt": "Why?"},
    "an unanswered talk": {"messages": [QUESTION]},
    "an empty answer": {"prompt": "Why?", "answer": "\u200b", "output": None},
    "the same again": FORMS["openai"],
    "a thought alone": {"prompt": "Why?", "answer": "<think>So."},
    "a call of a tool": {"messages": [QUESTION, {"role": "tool", "content": "{}"}]},
    "no object": [1],
}


def test_every_other_row_is_left_out_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, FORMS["openai"], *BAD.values())
    found, left_out = read_demonstrations(path, Thinking(("<think>", "</think>")))
    assert len(found) == 1
    assert [row.line for row in left_out] == list(range(2, 2 + len(BAD)))
    assert [row.reason for row in left_out][3:4] == ["duplicate"]
    with pytest.raises(InputError, match="holds no demonstration in 1 rows; row 1: no answer"):
        read_demonstrations(written(tmp_path, BAD["no answer"]))


def test_columns_may_be_named_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    path.write_text("Frage;Gut;Schlecht\nWhy?;So.;No.\n", encoding="utf-8")
    names = {"question": "Frage", "answer": "Gut"}
    (found,), _ = read_demonstrations(str(path), columns=names)
    assert (found.prompt.messages, found.response) == ((QUESTION,), "So.")
    pairs = {"question": "Frage", "chosen": "Gut", "rejected": "Schlecht"}
    (pair,), _ = read_judged(str(path), columns=pairs)
    assert (pair.prompt.messages, pair.first.text, pair.second.text) == ((QUESTION,), "So.", "No.")
    with pytest.raises(InputError, match=r"no known column \(it has: Frage, Gut, Schlecht\)"):
        read_demonstrations(str(path), columns=names | {"answer": "Best"})


REAL = {
    "alpaca_en_demo.json": 999,
    "self_instruct_seed_tasks.jsonl": 175,
    "dpo_en_demo.json": 299,
    "hh_helpful-base_pairs.jsonl.gz": 1400,
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the public trial data is not at ../shared/data")
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read(name: str) -> None:
    found, left_out = read_demonstrations(str(DATA / name))
    assert len(found) + len(left_out) >= REAL[name]
    assert len(found) > 0.95 * REAL[name]
