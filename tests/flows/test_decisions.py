"""What `solon q` reads: a decision it cannot value as it stands is refused, with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.run.actions import read_decisions
from storage.errors import InputError

USER: Any = {"role": "user", "content": "Get in."}
LOOK = {"role": "assistant", "content": "I look."}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"at": "door"}}}],
}
LOCKED = {"role": "tool", "content": "it is locked"}
GOOD: dict[str, Any] = {
    "messages": [USER, CALL, LOCKED, LOOK, USER],
    "actions": ["open it", "knock"],
}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "decisions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_the_whole_history_is_valued(tmp_path: Path) -> None:
    (found,) = read_decisions(written(tmp_path, GOOD))
    assert [turn["role"] for turn in found.messages] == [turn["role"] for turn in GOOD["messages"]]
    assert found.actions == ("open it", "knock")


@pytest.mark.parametrize("last", [LOOK, CALL, LOCKED])
def test_a_history_that_would_lose_its_end_is_refused(tmp_path: Path, last: Any) -> None:
    history = [USER, CALL, last] if last is LOCKED else [USER, last]
    path = written(tmp_path, GOOD, {"messages": history, "actions": ["open it", "knock"]})
    with pytest.raises(InputError) as found:
        list(read_decisions(path))
    assert f"{path}:2" in str(found.value)
    assert "its last turn is not the user's" in str(found.value)


def test_a_history_is_one_however_its_column_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, {"Messages": [USER, LOOK], "actions": ["open it", "knock"]})
    with pytest.raises(InputError, match="its last turn is not the user's"):
        list(read_decisions(path))


def test_an_empty_column_beside_the_prompt_is_none(tmp_path: Path) -> None:
    row = {"prompt": "Get in.", "messages": [], "actions": ["open it", "knock"]}
    (found,) = read_decisions(written(tmp_path, row))
    assert found.messages[-1] == USER


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_what_no_tokenizer_takes_is_no_action(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, GOOD | {"actions": ["a", text]})
    with pytest.raises(InputError, match=r"decisions\.jsonl:1"):
        list(read_decisions(path))


def test_a_file_without_a_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(InputError, match="no row"):
        list(read_decisions(path))
