"""What people's files hold besides plain prompts: roles, parts, tools, columns of any name."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InputError
from tasks.prompts import Reading, read_prompts
from tasks.prompts.columns import conversation
from tasks.prompts.rows import to_prompt
from tasks.prompts.turns import ROLES, RowError, is_blank

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not at ../shared/cases")


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in to_prompt(row, "here", 1, 5000).messages]


def ask(*contents: str) -> list[tuple[str, str]]:
    roles = ("user", "assistant") * len(contents)
    return list(zip(roles, contents, strict=False))


PARTS = [{"type": "text", "text": "What is a tide?"}, {"type": "text", "text": "Briefly."}]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [{"role": "user", "content": PARTS}]}, ask("What is a tide?\n\nBriefly.")),
        ({"prompt": PARTS}, ask("What is a tide?\n\nBriefly.")),
        ({"prompt": 12345}, ask("12345")),
        ({"prompt": 3.5}, ask("3.5")),
        ({"prompt": True}, ask("true")),
        ({"prompt": "Is it", "input": 5}, ask("Is it\n\n5")),
        ({"messages": [], "conversations": None, "prompt": "Why?"}, ask("Why?")),
        ({"prompt": " ", "question": "Why?"}, ask("Why?")),
        ({"instruction": "", "input": "Why?"}, ask("Why?")),
        ({"question": "Why?", "chosen": "So.", "rejected": "No."}, ask("Why?")),
        ({"question": "Why?", "chosen": [{"from": "gpt", "value": "So."}]}, ask("Why?")),
        ({"question": "Why?", "text": "An article."}, ask("Why?")),
        ({"prompt": float("nan"), "question": "Why?"}, ask("Why?")),
        ({"input": {"messages": [{"role": "user", "content": "Why?"}]}}, ask("Why?")),
        ({" Question ": "Why?"}, ask("Why?")),
        (
            {"messages": [{"role": None, "content": "", "from": "human", "value": "Why?"}]},
            ask("Why?"),
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Why?"},
                    CALL,
                    {"role": "tool", "content": 1},
                ]
            },
            ask("Why?"),
        ),
        (
            {
                "messages": [
                    {"role": "Developer", "content": "Be terse."},
                    {"role": "USER", "text": "Hi"},
                ]
            },
            [("system", "Be terse."), ("user", "Hi")],
        ),
        ({"prompt": "A joke about \u200bx\u200b"}, ask("A joke about \u200bx\u200b")),
    ],
)
def test_forms_of_content(row, expected):
    assert turns(row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "Why?", "system": "Be kind."}, [("system", "Be kind."), *ask("Why?")]),
        ({"question": "Why?", "system_prompt": "Be kind."}, [("system", "Be kind."), *ask("Why?")]),
        ({"question": "Why?", "system": " ", "history": [], "choices": None}, ask("Why?")),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "Why?"},
                ],
                "system": "Be kind.",
                "system_prompt": "In Dutch.",
            },
            [("system", "In Dutch.\n\nBe kind."), *ask("Why?")],
        ),
        ({"question": "Why?", "history": [["How?", "So."]]}, ask("How?", "So.", "Why?")),
        ({"question": "Why?", "history": '[["How?", "So."]]'}, ask("How?", "So.", "Why?")),
        ({"question": "Why?", "history": ["How?", "So."]}, ask("How?", "So.", "Why?")),
        (
            {"question": "Why?", "history": "Human: How?\n\nAssistant: So.", "system": "Be kind."},
            [("system", "Be kind."), *ask("How?", "So.", "Why?")],
        ),
        (
            {
                "question": "Why?",
                "history": [{"from": "human", "value": "How?"}, {"from": "gpt", "value": "So."}],
            },
            ask("How?", "So.", "Why?"),
        ),
        (
            {"question": "Why?", "input": "This:", "context": "That."},
            ask("Why?\n\nThis:\n\nThat."),
        ),
        ({"question": "Why?", "choices": ["x", 2]}, ask("Why?\n\nA. x\nB. 2")),
        (
            {"question": "Why?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}},
            ask("Why?\n\n1. x\n2. y"),
        ),
        ({"question": "Why, x or y?", "choices": ["x", "y"]}, ask("Why, x or y?")),
    ],
)
def test_what_stands_beside_a_prompt_is_part_of_it(row, expected):
    assert turns(row) == expected
    assert conversation(row)[1] == []


@pytest.mark.parametrize(
    ("beside", "what"),
    [
        ({"history": "We had talked."}, "`history`: it is no list"),
        ({"history": [["a", "b", "c"]]}, "`history`: it is no list"),
        ({"choices": "x or y"}, "`choices`: they are no list"),
        ({"choices": [["x"], {"y": 1}]}, "`choices`: they are no list"),
        ({"context": {"title": "x"}}, "`context`: it is no text"),
        ({"system": ["x"]}, "`system`: it is no text"),
        ({"tools": [{"name": "weather"}]}, "`tools`: tools are not given"),
    ],
)
def test_what_is_not_used_is_named(beside, what, tmp_path):
    assert turns({"prompt": "Why?"} | beside) == ask("Why?")
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"prompt": t} | beside) + "\n" for t in ("Why?", "How?")))
    (note,) = read_prompts(str(path)).notes
    assert note.startswith(f"not used beside 2 prompts: {what}")


@pytest.mark.parametrize("role", [*ROLES, "User", " MODEL ", "function-call", "Function Call"])
def test_roles_are_known_in_any_spelling(role):
    name = ROLES[role.strip().casefold().replace("-", "_").replace(" ", "_")]
    talk = [{"role": "user", "content": "a"}, {"role": role, "content": "b"}]
    talk.append({"role": "user", "content": "c"})
    if name in ("tool", "tool_call", "system"):
        reason = "must come first" if name == "system" else "calls a tool"
        with pytest.raises(RowError, match=reason):
            turns({"messages": talk})
    else:
        assert turns({"messages": talk})[-1] == ("user", "a\n\nb\n\nc" if name == "user" else "c")


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {"a.jsonl": write_jsonl, "a.csv": write_csv, "a.parquet": write_parquet}


@pytest.mark.parametrize("name", WRITERS)
def test_columns_are_taken_under_the_names_they_have(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path, [{"text": "x", "Query": "123?", "Answer": "456", "context": "that"}])
    columns = {"prompt": "Query", "context": None}
    batch = read_prompts(str(path), reading=Reading(columns=columns))
    assert batch.prompts[0].messages == ({"role": "user", "content": "123?"},)
    for wrong, rule in (
        ({"prompt": "Frage"}, r"Frage: no row has this column \(there are: text, Query, Answer"),
        ({"prompt": "Query", "system": "sys"}, "sys: no row has this column"),
        ({"promt": "Query"}, "promt: no column of ours has this name"),
    ):
        with pytest.raises(InputError, match=rule):
            read_prompts(str(path), reading=Reading(columns=wrong))


def test_categories_are_read_ignored_or_renamed(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"prompt": "x", "category": "open_qa"}, {"prompt": "y"}])
    for categories, expected in (
        (True, ["open_qa", "unspecified"]),
        (False, ["unspecified", "unspecified"]),
        ({"open_qa": "facts"}, ["facts", "unspecified"]),
    ):
        batch = read_prompts(str(path), reading=Reading(categories=categories))
        assert [prompt.category for prompt in batch.prompts] == expected


def test_a_set_of_which_over_a_tenth_is_left_out_says_why(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": f"q {number}"} for number in range(18)]
    write_jsonl(path, [*rows, {"prompt": ""}, {"prompt": "q 1"}])
    assert read_prompts(str(path)).notes == []
    write_jsonl(path, [{"prompt": ""}, *rows[:-1], {"prompt": ""}, {"prompt": "q 1"}, {"x": 1}])
    assert read_prompts(str(path)).notes == [
        f"{path}: 4 of 21 rows are left out (empty 2, duplicate 1, malformed 1):"
        " row 1: turn 1 (user) is empty; row 19: turn 1 (user) is empty;"
        " row 20: the same messages came before"
    ]


@given(st.text(st.characters(categories=["Cc", "Cf", "Zs", "Zl", "Zp"]), max_size=9))
def test_what_nobody_sees_is_blank(text):
    assert is_blank(text)
    assert not is_blank(text + "x" + text)


EXPECTED: dict[str, tuple[int, dict[int, str]] | str] = {
    "format-parts.jsonl": (3, {}),
    "format-tools.jsonl": "calls a tool: the model is not known to take calls",
    "format-numbers.jsonl": (4, {}),
    "csv-open-quote.csv": (4, {3: "a quote is not closed"}),
    "csv-other-names.csv": "prompts.columns={prompt: Query}",
    "columns-beside.jsonl": (2, {}),
    "roles-spelt.jsonl": (6, {5: "unknown role 'customer'"}),
    "prompt-invisible.jsonl": (1, {1: "is empty", 2: "is empty", 3: "is empty"}),
    "category-foreign.jsonl": (40, {}),
    "turn-system.jsonl": (12, {}),
}


@needs_cases
@pytest.mark.parametrize("name", EXPECTED)
def test_cases_from_the_field(name):
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            read_prompts(str(CASES / name))
        assert expected in str(caught.value)
        return
    usable, left_out = expected
    batch = read_prompts(str(CASES / name))
    assert len(batch.prompts) == usable
    assert [row.line for row in batch.exclusions] == list(left_out)
    assert all(left_out[row.line] in row.detail for row in batch.exclusions)


words = st.text("ab\u200b \n\ufeff", max_size=6)
values: st.SearchStrategy[Any] = st.one_of(
    words,
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(),
    st.lists(
        st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": words})
    ),
    st.lists(words, max_size=3),
)
roles = st.sampled_from(["user", "User", "human", "gpt", "model", "tool", "system", "customer"])
turn = st.dictionaries(st.sampled_from(["content", "value", "tool_calls"]), values, max_size=2)
spoken = st.builds(
    lambda turn, key, role: turn | {key: role}, turn, st.sampled_from(["role", "from"]), roles
)
columns: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["messages", "conversations"], st.lists(spoken, max_size=4) | st.none()),
    "history": st.lists(st.lists(words, min_size=2, max_size=2)) | values,
    **dict.fromkeys(["prompt", "instruction", "input", "system", "context", "choices"], values),
    **dict.fromkeys(["tools", "category", "Query"], values),
}
rows = st.fixed_dictionaries({}, optional=columns)


def held(write: Callable[[Path, list[dict]], None], name: str, found: list[dict]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path, found)
        reading = Reading(columns={"question": "Query"}, max_chars=30)
        try:
            batch = read_prompts(str(path), reading=reading)
        except InputError as error:
            expected = f"no usable prompt in {len(found)} rows", "no row has this column"
            assert any(rule in str(error) for rule in expected)  # noqa: PT017
            return
    assert len(batch.prompts) + len(batch.exclusions) == len(found)
    assert all(not is_blank(t["content"]) for prompt in batch.prompts for t in prompt.messages)


@given(st.lists(rows, min_size=1, max_size=4))
@settings(deadline=None)
def test_rows_in_are_prompts_and_exclusions_of_json(found):
    held(write_jsonl, "a.jsonl", found)


@given(st.lists(st.fixed_dictionaries({"prompt": words, "system": words}), min_size=1, max_size=4))
@settings(deadline=None)
def test_rows_in_are_prompts_and_exclusions_of_csv(found):
    held(write_csv, "a.csv", found)
