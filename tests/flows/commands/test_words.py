"""`solon constitution`: findings against prompts' categories, and what `show` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app

WORDS = """\
name: test
version: "3"
rounds: [[kind], any]
principles:
  - slug: be-kind
    critique: Point out what is unkind.
    revision: Rewrite it in a kind way.
    comparison: Which response is kinder?
    tags: [kind]
    weight: 2.5
    applies_to: [opinion, no such]
  - slug: be-calm
    title: "[red]Calm"
    critique: Count the exclamation marks.
    revision: Take every exclamation mark away.
    comparison: Which response is calmer?
    check: {no_character: "!"}
    examples: [{prompt: Hi, response: Hello.}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(WORDS)
    return str(path)


def solon(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["constitution", *arguments])
    return result.exit_code, result.stdout


def test_lint_knows_the_categories_of_the_default_prompts(file: str) -> None:
    code, text = solon("lint", file)
    assert code == 0
    assert f"{file}:5: warning: 'no such': no prompt has this category; fix applies_to" in text
    assert f"{file}:3: warning: 'coding': no principle applies to prompts" in text
    code, text = solon("lint", "default")
    assert code == 0
    assert "default.yaml: nothing to mend (22 principles, 0 of them checked by a program; " in text


def test_lint_knows_the_categories_of_a_file_of_prompts(file: str, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "a", "category": "opinion"}, {"prompt": "b", "category": "no such"}]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, text = solon("lint", file, "--prompts", str(prompts))
    assert (code, "2 principles, 1 of them checked" in text) == (0, True)
    with prompts.open("a") as stream:
        stream.write(json.dumps({"prompt": "without a category"}) + "\n")
    code, text = solon("lint", file, "--prompts", str(prompts))
    assert (code, "2 principles, 1 of them checked" in text) == (0, True)


def test_errors_end_with_code_2_in_either_form(file: str) -> None:
    Path(file).write_text(WORDS.replace("[[kind], any]", "[[kindly], any]"))
    code, text = solon("lint", file)
    assert (code, text) == (
        2,
        f"{file}:3: error: 'kindly': rounds: no enabled principle has this tag;"
        " did you mean kind?\n",
    )
    code, text = solon("lint", file, "--json")
    assert code == 2
    assert [f["level"] for f in json.loads(text)["findings"]] == ["error"]


def test_show_tells_policy_weight_categories_and_check(file: str) -> None:
    assert solon("show", file) == (
        0,
        "test 3\n"
        "round 0: kind\n"
        "round 1: any\n"
        "round 2 and later: any\n"
        "be-kind [kind]: Be kind (weight 2.5; applies to opinion, no such)\n"
        "be-calm []: [red]Calm (weight 1; check no_character !; examples 1)\n",
    )
    shown = json.loads(solon("show", file, "--json")[1])
    assert shown["rounds"] == [["kind"], []]
    assert shown["principles"][1]["check"] == ["no_character", "!"]
    assert shown["principles"][1]["examples"][0]["response"] == "Hello."


def test_show_obeys_no_direction_character(file: str) -> None:
    Path(file).write_text(WORDS.replace("[red]Calm", "be\u202etrue\u2066 :100:"))
    text = solon("show", file)[1]
    assert "be\ufffdtrue\ufffd :100:" in text
