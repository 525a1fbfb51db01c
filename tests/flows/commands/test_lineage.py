"""`solon why` and `solon impact`: what they refuse, and why a checkpoint was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands import cli
from flows.explain.lineage_text import mermaid
from storage.errors import InputError
from storage.ids import content_id, short
from storage.ledger import Ledger, insert, now

CHECKPOINT, FIRST = content_id("checkpoint", "later"), content_id("checkpoint", "first")
PARTS = {"libraries": {}, "seed": 7, "precision": "float32", "code": "abc"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkpoints of one stage, and what their runs decided."""
    monkeypatch.setenv("SOLON_HOME", str(tmp_path))
    decisions = [
        decision("run_1", 0, FIRST, None, None, None),
        decision("run_2", 0, CHECKPOINT, "settings.lr", "0.1", "0.2\u202e"),
        decision("run_2", 1, "drafts", "sampling", "0", "1"),
        decision("run_3", 0, CHECKPOINT, "code", "a", "b"),
    ]
    with Ledger(tmp_path / "ledger.duckdb").transaction() as con:
        insert(con, "checkpoints", [checkpoint(FIRST, "run_1"), checkpoint(CHECKPOINT, "run_2")])
        insert(con, "decisions", decisions)


def checkpoint(checkpoint_id: str, run_id: str) -> dict[str, object]:
    return {
        "checkpoint_id": checkpoint_id,
        "base_model_id": "mdl_x",
        "dataset_id": "dst_x",
        "run_id": run_id,
        "parent_ids": [],
        "parent_roles": [],
        "stage": "dpo",
        "components": json.dumps(PARTS),
        "path": "x",
        "duration_s": 1.0,
        "created_at": now(),
    }


def decision(
    run_id: str, number: int, subject: str, component: str | None, was: str | None, to: str | None
) -> dict[str, object]:
    row = {"run_id": run_id, "number": number, "subject_id": subject, "component": component}
    rest = {"step": "dpo", "verdict": "MISS", "row_count": 1, "created_at": now()}
    return row | {"was": was, "is_now": to} | rest


def solon(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, [*arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_why_says_what_made_a_checkpoint_anew() -> None:
    assert json.loads(solon("why", CHECKPOINT, "--json"))["why"] == [
        {"component": "settings.lr", "was": "0.1", "is": "0.2\u202e"}
    ]
    text = solon("why", CHECKPOINT)
    assert "why: it was trained again because settings.lr changed (0.1 -> 0.2\ufffd)" in text
    assert "why: it was trained with none of its stage in use before" in solon("why", FIRST)


@pytest.mark.parametrize("command", ["why", "impact"])
@pytest.mark.parametrize("options", [("--json", "--mermaid"), ("--all",), ("--all", "--mermaid")])
def test_options_that_do_not_go_together(command: str, options: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        solon(command, CHECKPOINT, *options)


def test_json_carries_no_direction_or_control_character_to_the_terminal() -> None:
    text = solon("why", CHECKPOINT, "--json")
    assert "0.2\\u202e" in text
    assert "\u202e" not in text


def test_a_label_in_a_chart_turns_nothing_around() -> None:
    node = {"kind": "prompt", "label": "a\u202eb :100: \x9b2J"}
    chart = mermaid({"nodes": {"prm_1": node}, "edges": []})
    assert "#8238;" not in chart
    assert "#155;" not in chart


def test_colons_in_what_is_printed_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    from flows.commands.options import print_lines

    print_lines(["1:100:2"])
    assert capsys.readouterr().out == "1:100:2\n"


@pytest.fixture
def twin(tmp_path: Path) -> str:
    """Another checkpoint whose short id is that of the first."""
    other = f"{short(FIRST)}{'0' * 24}"
    with Ledger(tmp_path / "ledger.duckdb").transaction() as con:
        insert(con, "checkpoints", [checkpoint(other, "run_4")])
    return other


COMMANDS = [
    ("why", "{}"),
    ("impact", "{}"),
    ("diff", CHECKPOINT, "{}"),
    ("ref", "set", "mine", "{}"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_short_id_is_shown_and_taken(command: tuple[str, ...]) -> None:
    text = solon(*(part.format(short(FIRST)) for part in command))
    assert short(FIRST) in text
    assert FIRST not in text
    assert FIRST in solon(*(part.format(short(FIRST)) for part in command), "--json")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_short_id_of_two_rows_is_refused_in_one_line(command: tuple[str, ...], twin: str) -> None:
    with pytest.raises(InputError, match=rf"{short(FIRST)}: several ids begin so") as caught:
        solon(*(part.format(short(FIRST)) for part in command))
    assert "\n" not in str(caught.value)
    assert short(twin) in solon(*(part.format(twin) for part in command))


def test_export_takes_a_short_id_and_refuses_that_of_two(tmp_path: Path) -> None:
    ids = [f"dst_{'1' * 8}{end * 24}" for end in "23"]
    rows = [
        {"dataset_id": row_id, "run_id": "run_1", "kind": "sft", "created_at": now()}
        | {"row_count": 0, "held_out_count": 0}
        for row_id in ids
    ]
    ledger, out = Ledger(tmp_path / "ledger.duckdb"), str(tmp_path / "out")
    with ledger.transaction() as con:
        insert(con, "datasets", rows[:1])
    assert json.loads(solon("export", short(ids[0]), "--out", out, "--json"))["id"] == ids[0]
    with ledger.transaction() as con:
        insert(con, "datasets", rows[1:])
    with pytest.raises(InputError, match="several ids begin so"):
        solon("export", short(ids[0]), "--out", str(tmp_path / "other"))
