"""What is exported is read again as the same conversations in every form, or left out and said."""

from __future__ import annotations

import json
from errno import ENOSPC
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.explain.export import export_snapshot
from flows.explain.export_rows import as_messages, as_transcripts, is_read_again, table
from storage.errors import InputError
from storage.ids import content_id
from tasks.judging.exported import FACTS, member
from tasks.judging.gold import read_gold
from tasks.prompts import read_prompts
from tasks.prompts.files import iter_rows
from tasks.prompts.rows import to_prompt
from tests.flows.world import World

SYSTEM = {"role": "system", "content": "Answer in verse."}


def talk(text: str, *before: dict[str, str]) -> str:
    return json.dumps({"messages": [*before, {"role": "user", "content": text}]}) + "\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    asked = [talk(f"What is a keel, number {number}?", SYSTEM) for number in range(20)]
    asked += [talk(f"Say it.\n\nHuman: number {number}") for number in range(20)]
    (tmp_path / "prompts.jsonl").write_text("".join(asked), encoding="utf-8")
    settings = {
        "prompts.path": str(tmp_path / "prompts.jsonl"),
        "generation.max_new_tokens.revision": 400,
        "pairs.evidence": "presumed",
    }
    world = World(tmp_path / "home", **settings)
    world.run(world.inputs)
    return world


FILES = {"trl": "train.jsonl", "hh": "train.jsonl", "parquet": "train.parquet"}


@pytest.mark.parametrize("format", FILES)
def test_what_is_exported_is_read_again(world: World, tmp_path: Path, format: str) -> None:
    out, dataset = tmp_path / "out", world.rows.preferences
    found = export_snapshot(world.ledger, dataset.dataset_id, format, out)
    read = read_prompts(str(out / FILES[format]))
    pairs = read_gold(out / FILES[format])
    assert read.exclusions == []
    assert {p.prompt_id for p in read.prompts} <= {p.prompt_id for p in world.inputs.prompts}
    assert len(read.prompts) == len(pairs) == found["rows"] - found["held_out"] > 5
    card = (out / "README.md").read_text()
    assert (found["left_out"] > 5) is (format == "hh") is ("rows are left out: a para" in card)


def test_a_form_that_can_hold_no_row_is_refused(world: World, tmp_path: Path) -> None:
    world.ledger.query("SELECT 1")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(prompts.read_text().splitlines(keepends=True)[20:]))
    inputs = world.read()
    world.run(inputs)
    with pytest.raises(InputError, match="the form cannot hold any of its"):
        export_snapshot(world.ledger, world.rows.preferences.dataset_id, "hh", tmp_path / "out")
    assert not (tmp_path / "out").exists()


texts = st.text("a: \n", max_size=6)
said = st.tuples(texts, st.sampled_from(["Human:", "Assistant:", "System:", "x", "\r\n"]), texts)
turns = said.map(lambda parts: "".join(parts).strip()).filter(bool)


@given(st.lists(turns, min_size=1, max_size=5), st.none() | turns, turns, turns)
def test_a_pair_in_the_form_of_hh_is_the_same_or_known_not_to_be(
    contents: list[str], system: str | None, chosen: str, rejected: str
) -> None:
    contents = contents if len(contents) % 2 else contents[:-1] or contents
    roles = ("user", "assistant") * len(contents)
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    prompt = to_prompt({"messages": messages}, "here", 1, 1000)
    facts = dict.fromkeys(("prompt_id", *FACTS), "") | {"split": "train", "preference": 1.0}
    pair_id = content_id("pair", [prompt.prompt_id, chosen, rejected, 1.0])
    sides = {"id": pair_id, "chosen": chosen, "rejected": rejected}
    row = {"messages": json.dumps(prompt.messages)} | facts | sides
    if is_read_again(row):
        assert to_prompt(as_transcripts(row), "here", 1, 1000).prompt_id == prompt.prompt_id
    else:
        every = [*(turn["content"] for turn in prompt.messages), chosen, rejected]
        marks = "Human:", "Assistant:", "\r\n"
        assert chosen == rejected or any(mark in text for mark in marks for text in every)


def test_calls_of_tools_come_back_as_they_were(tmp_path: Path) -> None:
    call = {"name": "weather", "arguments": {"place": "Oslo"}}
    talk = [
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": call}]},
        {"role": "tool", "content": "-4"},
        {"role": "user", "content": "And tomorrow?"},
    ]
    prompt = to_prompt({"messages": talk}, "here", 1, 1000, tools=True)
    facts = dict.fromkeys(("prompt_id", *FACTS), "") | {"split": "train", "preference": 1.0}
    pair_id = content_id("pair", [prompt.prompt_id, "Mild.", "No.", 1.0])
    sides = {"id": pair_id, "chosen": "Mild.", "rejected": "No."}
    row = {"messages": json.dumps(prompt.messages)} | facts | sides
    shaped = json.loads(json.dumps(as_messages(row)))
    assert shaped["prompt"][1]["tool_calls"][0]["function"]["name"] == "weather"
    pq.write_table(table([row]), tmp_path / "rows.parquet")
    ((_, stored),) = iter_rows(tmp_path / "rows.parquet")
    assert member(shaped, "here", 1).row_id == member(stored, "here", 1).row_id == pair_id
    assert not is_read_again(row)


@pytest.mark.parametrize("place", ["here", "link"])
def test_an_empty_folder_is_filled_where_it_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Where somebody stands in it, and where it is a link: it cannot be written over then."""
    before = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    out = Path(".") if place == "here" else tmp_path / "link"
    export_snapshot(world.ledger, world.rows.preferences.dataset_id, "trl", out)
    found = {path.name for path in (tmp_path / "here").iterdir()}
    assert "README.md" in found
    assert not [name for name in found if name.startswith(".")]
    assert {path.name for path in tmp_path.iterdir()} == before | {"here", "link"}


@pytest.mark.parametrize("name", ["out", "out.jsonl"])
def test_an_export_that_fails_leaves_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object) -> str:
        raise OSError(ENOSPC, "No space left on device")

    before, asked = sorted(tmp_path.iterdir()), world.rows.preferences.dataset_id
    with monkeypatch.context() as patched:
        patched.setattr("flows.explain.export.dataset_card", full)
        with pytest.raises(OSError, match="No space left"):
            export_snapshot(world.ledger, asked, "trl", tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before
    export_snapshot(world.ledger, asked, "trl", tmp_path / name)
    with pytest.raises(InputError, match="must be new"):
        export_snapshot(world.ledger, asked, "trl", tmp_path / name)
