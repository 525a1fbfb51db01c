"""One row to one prompt: columns, transcripts, reasons, and the held-out split."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.prompts.rows import (
    REASONS,
    Prompt,
    is_held_out,
    to_prompt,
)
from tasks.prompts.turns import RowError, transcript


def turns(row: dict) -> list[tuple[str, str]]:
    prompt = to_prompt(row, "here", 1, 1000)
    return [(turn["role"], turn["content"]) for turn in prompt.messages]


def reason(row: object, max_chars: int = 1000) -> str:
    with pytest.raises(RowError) as caught:
        to_prompt(row, "here", 1, max_chars)
    return caught.value.reason


USER = [("user", "hi")]
HELLO = {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": " hi \n"}, USER),
        ({"prompt": {"text": "hi", "replies": []}}, USER),
        ({"prompt": [{"role": "user", "content": "hi"}]}, USER),
        ({"messages": [{"role": "user", "content": "hi"}, HELLO]}, USER),
        ({"messages": '[{"role": "user", "content": "hi"}]'}, USER),
        (
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "x"}]},
            USER,
        ),
        ({"instruction": "hi", "input": ""}, USER),
        ({"instruction": "hi", "input": "there"}, [("user", "hi\n\nthere")]),
        ({"instruction": "hi", "instances": [{"input": "there"}]}, [("user", "hi\n\nthere")]),
        ({"prompt": "hi", "context": "there"}, [("user", "hi\n\nthere")]),
        ({"question": "hi"}, USER),
        ({"turns": ["hi", "and now?"]}, USER),
        ({"input": "hi", "output_1": "x"}, USER),
        ({"prompt": None, "question": "hi"}, USER),
        ({"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "x"}, USER),
        ({"text": "Human: hi\r\n\r\nAssistant: hello"}, USER),
        ({"prompt": "\n\nHuman: hi\n\nAssistant:"}, USER),
    ],
)
def test_every_documented_column_gives_its_prompt(row, expected):
    assert turns(row) == expected


def test_a_multi_turn_conversation_is_kept_whole_without_its_last_answer():
    text = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"
    assert turns({"chosen": text}) == [("user", "a"), ("assistant", "b"), ("user", "c")]


def test_system_first_and_neighbours_of_one_role_are_joined():
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        HELLO,
        HELLO,
    ]
    assert turns({"messages": messages}) == [("system", "be kind"), ("user", "a\n\nb")]


def test_the_word_human_within_a_turn_does_not_split_it():
    text = "\n\nHuman: who said Human: first?\nHuman: me\n\nAssistant: Human: you"
    assert turns({"chosen": text}) == [("user", "who said Human: first?\nHuman: me")]
    assert turns({"prompt": "explain this:\n\nHuman: hi"}) == [
        ("user", "explain this:\n\nHuman: hi")
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "  \n"}, "empty"),
        ({"prompt": None}, "empty"),
        ({"chosen": "\n\nHuman: \n\nAssistant: hello"}, "empty"),
        ({"chosen": "\n\nHuman: a\n\nAssistant:\n\nHuman: b\n\nAssistant: c"}, "empty"),
        ({"messages": [{"role": "user", "content": None}]}, "empty"),
        ({"messages": []}, "no_user_turn"),
        ({"messages": [HELLO]}, "no_user_turn"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no_user_turn"),
        ({"messages": [HELLO, {"role": "user", "content": "x"}]}, "malformed"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "no_user_turn"),
        ({"messages": "not a list"}, "malformed"),
        ({"messages": [{"role": "user", "content": [1]}]}, "malformed"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "malformed"),
        ({"messages": [{"role": "customer", "content": "x"}]}, "malformed"),
        ({"messages": [{"role": None, "content": "x"}]}, "malformed"),
        ({"prompt": "\u200b\ufeff \u2060"}, "empty"),
        ({"prompt": float("nan")}, "empty"),
        ({"turns": []}, "malformed"),
        ({"text": "an article"}, "malformed"),
        ({"prompt": "a\0b"}, "malformed"),
        ({"title": "x"}, "malformed"),
        (["prompt"], "malformed"),
        (None, "malformed"),
        ({"prompt": "half \ud83d of a pair"}, "not_utf8"),
    ],
)
def test_every_bad_row_has_its_reason(row, expected):
    assert reason(row) == expected


def test_length_counts_all_turns_and_the_limit_itself_is_allowed():
    row = {"chosen": "\n\nHuman: aaa\n\nAssistant: bbb\n\nHuman: ccc"}
    assert reason(row, max_chars=8) == "too_long"
    assert len(to_prompt(row, "here", 1, 9).messages) == 3


def test_category_is_kept_on_one_line():
    assert to_prompt({"prompt": "x", "category": " a \n b "}, "s", 1, 9).category == "a b"
    assert to_prompt({"prompt": "x", "category": 3}, "s", 1, 9).category == "unspecified"


def test_the_digest_tells_roles_and_turns_apart():
    one = to_prompt({"prompt": "a\n\nb"}, "s", 1, 99)
    same = to_prompt({"prompt": "a\n\nb", "category": "x"}, "t", 2, 99)
    other = to_prompt({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: b"}, "s", 1, 99)
    assert one.prompt_id == same.prompt_id != other.prompt_id
    assert one.prompt_id.startswith("prm_")


@given(st.lists(st.text(st.characters(exclude_characters="\n\r")), min_size=1, max_size=5))
def test_a_transcript_gives_back_the_lines_it_was_made_of(lines):
    names = ["Human" if place % 2 == 0 else "Assistant" for place in range(len(lines))]
    text = "".join(f"\n\n{name}: {line}" for name, line in zip(names, lines, strict=True))
    assert [turn["content"] for turn in transcript(text)] == [f" {line}" for line in lines]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "prompt", "turns", "role", "content", "text", "chosen", "input"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def attempt(row: object) -> tuple[Prompt | None, str]:
    try:
        return to_prompt(row, "here", 1, 100), ""
    except RowError as error:
        return None, error.reason


@given(json_values)
def test_any_json_row_is_a_well_formed_prompt_or_has_a_known_reason(row):
    prompt, reason = attempt(row)
    assert (reason in REASONS) is (prompt is None)
    if prompt is None:
        return
    roles = [turn["role"] for turn in prompt.messages if turn["role"] != "system"]
    assert roles[::2] == ["user"] * len(roles[::2])
    assert roles[1::2] == ["assistant"] * len(roles[1::2])
    assert prompt.messages[-1]["role"] == "user"
    assert all(turn["content"].strip() for turn in prompt.messages)
    json.dumps(prompt.messages, ensure_ascii=False).encode()


def test_the_held_out_share_is_near_the_percent_and_nested():
    names = [f"prm_{number}" for number in range(4000)]
    tenth = {name for name in names if is_held_out(name, 10)}
    fifth = {name for name in names if is_held_out(name, 20)}
    assert 320 < len(tenth) < 480
    assert tenth < fifth
    assert not any(is_held_out(name, 0) for name in names)
    assert all(is_held_out(name, 100) for name in names)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percent_out_of_range_is_refused(percent):
    with pytest.raises(ValueError, match="from 0 to 100"):
        is_held_out("prm_1", percent)
