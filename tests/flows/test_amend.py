"""A form's edit from its plan to the champion; refused, outrun, and approved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from constitution.load import HERE, load
from storage.ledger import Row, point

from .driven import TINY, Driven

pytestmark = pytest.mark.slow

APPROVED = {"approve": True, "by": "Ada", "note": "looks right"}
HOSTILE = "<script>alert(1)</script> [click](http://evil.example) | `x` \u202eabc"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("amend")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes((HERE / "default.yaml").read_bytes())
    return path


@pytest.fixture(scope="module")
def driven(folder: Path) -> Iterator[Driven]:
    found = Driven(folder / "home")
    yield found
    found.close()


@pytest.fixture(scope="module")
def overrides(file: Path) -> dict[str, Any]:
    return TINY | {"constitution": str(file)}


@pytest.fixture(scope="module")
def first(driven: Driven, overrides: dict[str, Any]) -> dict[str, Any]:
    """Everything once, so that there are rows, checkpoints and a champion."""
    found = driven.run("nightly", {"recipe": "smoke", "overrides": overrides})
    assert found["state"] == "Completed", found
    result: dict[str, Any] = found["result"]
    point(driven.ledger, "smoke/champion", result["checkpoints"]["ppo"])  # whether or not it passed
    return result


@pytest.fixture(scope="module")
def slug(driven: Driven, first: dict[str, Any]) -> str:
    """The principle that most critiques were asked under."""
    rows = driven.ledger.query(
        "SELECT slug, count(*) AS n FROM completions JOIN principles USING (principle_id)"
        " WHERE step = 'critique' GROUP BY slug ORDER BY n DESC, slug LIMIT 1"
    )
    return str(rows[0]["slug"])


def amend(driven: Driven, overrides: dict[str, Any], edit: Any, **more: Any) -> dict[str, Any]:
    settings = {name: more.pop(name) for name in {"samples", "approve"} & set(more)}
    parameters = {"recipe": "smoke", "overrides": overrides, "edit": edit, "samples": 0}
    return driven.run("amend", parameters | settings, **more)


def test_a_refused_edit_leaves_file_rows_and_refs(
    driven: Driven, overrides: dict[str, Any], file: Path, slug: str
) -> None:
    text, tables = file.read_bytes(), driven.tables()
    edit = {"slug": slug, "critique": HOSTILE.replace("\u202e", "")}
    answer = {"approve": False, "by": "Ada", "note": "too dear"}
    found = amend(driven, overrides, edit, answer=answer)
    assert found["state"] == "Rejected", found
    assert found["waited"] == "Paused"
    assert found["name"] == f"amend smoke: {slug}"
    assert file.read_bytes() == text
    assert driven.tables() == tables
    row = driven.approvals()[-1]
    assert (row["is_approved"], row["decided_by"], row["note"]) == (False, "Ada", "too dear")
    assert row["decided_at"] >= row["asked_at"]
    assert json.loads(row["plan"])["cost"]["calls"][1] > 0
    for shown in (found["artifacts"]["plan"], found["description"]):
        assert "script>" in shown
        assert "<script>" not in shown.replace("\\<", "")  # Markdown for a plain <
        assert "[click](" not in shown
        assert "calls" in shown
    assert not list((driven.home / "state" / "amend").iterdir())


def test_a_limit_below_the_plan_refuses(
    driven: Driven, overrides: dict[str, Any], file: Path, slug: str
) -> None:
    text = file.read_bytes()
    edit = {"slug": slug, "critique": "Say what is missing."}
    found = amend(driven, overrides, edit, answer=APPROVED | {"limit_calls": 1})
    assert found["state"] == "Rejected", found
    assert "calls, the limit is 1" in found["result"]["note"]
    assert file.read_bytes() == text
    row = driven.approvals()[-1]
    assert (row["is_approved"], row["limit_calls"]) == (False, 1)


def test_a_file_that_changed_meanwhile_is_not_overwritten(
    driven: Driven, overrides: dict[str, Any], file: Path, slug: str
) -> None:
    text, tables = file.read_text(encoding="utf-8"), driven.tables()
    theirs = text + "# theirs\n"
    edit = {"slug": slug, "critique": "Say what is missing."}
    found = amend(driven, overrides, edit, answer=APPROVED, write=[str(file), theirs])
    assert found["state"] == "Failed", found
    assert "changed meanwhile" in found["error"]
    assert file.read_text(encoding="utf-8") == theirs
    assert driven.tables() == tables
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"slug": "no-such-principle", "critique": "x"}, "has this slug"),
        ({"slug": "protect-privacy"}, "no new words"),
        ({"slug": "protect-privacy", "critique": "x" * 4001}, "4000"),
        ({"slug": "protect-privacy", "critique": "a\tb"}, "a tab is not allowed"),
        ({"slug": "protect-privacy", "weight": "3"}, "not permitted"),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused_at_once(
    driven: Driven, overrides: dict[str, Any], first: dict[str, Any], edit: Any, words: str
) -> None:
    asked = len(driven.approvals())
    found = amend(driven, overrides, edit)
    assert found["state"] == "Failed"
    assert words in found["error"]
    assert len(driven.approvals()) == asked


@pytest.fixture(scope="module")
def approved(
    driven: Driven, overrides: dict[str, Any], file: Path, slug: str
) -> tuple[dict[str, Any], list[Row]]:
    """An approved edit, and the completions it cost."""
    had = {row["completion_id"] for row in driven.ledger.query("SELECT * FROM completions")}
    edit = {"slug": slug, "critique": "Say what is missing."}
    found = amend(driven, overrides, edit, samples=1, answer=APPROVED)
    assert found["state"] == "Completed", found
    rows = driven.ledger.query("SELECT * FROM completions JOIN principles USING (principle_id)")
    return found, [row for row in rows if row["completion_id"] not in had]


def test_an_approved_edit_regenerates_what_it_touches_and_no_more(
    driven: Driven, approved: tuple[dict[str, Any], list[Row]], slug: str
) -> None:
    found, new = approved
    touched = driven.ledger.query(
        "SELECT DISTINCT prompt_id FROM completions JOIN principles USING (principle_id)"
        " WHERE slug = ?",
        [slug],
    )
    assert {row["slug"] for row in new} == {slug}
    assert len(new) == 2 * len(touched)
    steps = {step["step"]: step for step in found["result"]["steps"]}
    assert steps["drafts"]["generated"] == 0
    assert steps["critiques"]["generated"] == len(touched) - 1  # one was made for the samples
    assert [steps[stage]["trained"] for stage in ("sft", "reward", "dpo", "ppo")] == [1] * 4


def test_the_file_has_the_new_words_and_the_old_rest(
    approved: tuple[dict[str, Any], list[Row]], file: Path, slug: str
) -> None:
    assert load(file).principle(slug).critique == "Say what is missing."
    old = (HERE / "default.yaml").read_text(encoding="utf-8").splitlines()
    new = file.read_text(encoding="utf-8").splitlines()
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][1] == "    critique: Say what is missing."


def test_the_question_showed_samples_and_the_change(
    approved: tuple[dict[str, Any], list[Row]], slug: str
) -> None:
    for shown in (approved[0]["artifacts"]["plan"], approved[0]["description"]):
        assert f"Samples of {slug}" in shown
        assert "| revision |" in shown
        assert "{+Say" in shown
        assert "now in use, " in shown


def test_the_gate_decides_over_the_champion(
    driven: Driven, approved: tuple[dict[str, Any], list[Row]], first: dict[str, Any]
) -> None:
    result, refs = approved[0]["result"], driven.refs()
    assert {gate["policy"] for gate in result["gates"]} == {"sft", "dpo", "ppo"}
    assert result["gate"]["reasons"]
    candidate, old = result["checkpoints"]["ppo"], first["checkpoints"]["ppo"]
    assert candidate != old
    assert refs["smoke/latest/ppo"] == candidate
    assert refs["smoke/latest/evaluate"] == next(
        step["id"] for step in result["steps"] if step["step"] == "evaluate"
    )
    sql = "SELECT * FROM ref_moves WHERE name = 'smoke/champion' ORDER BY number"
    moves = driven.ledger.query(sql)
    run = driven.ledger.query("SELECT * FROM runs WHERE run_id = ?", [result["run_id"]])[0]
    if result["gate"]["passed"]:
        assert refs["smoke/champion"] == result["champion"] == candidate
        assert [m["target_id"] for m in moves] == [old, candidate]
        assert moves[-1]["author"] == "Ada"
        assert moves[-1]["note"] == result["verdict"]
        assert refs["smoke/constitution"] == run["constitution_id"]
    else:
        assert refs["smoke/champion"] == result["champion"] == old
        assert refs["smoke/constitution"] != run["constitution_id"]
    is_refused = result["verdict"].endswith(": not promoted.")
    assert is_refused is not result["gate"]["passed"]
    shown = approved[0]["artifacts"]["gate"]
    assert shown.startswith(f"# {result['verdict'].split(' (')[0]}")
    assert "beside the champion" not in shown, "it was measured"
    kept = driven.ledger.query("SELECT * FROM gates WHERE checkpoint_id = ?", [candidate])
    assert all(row["is_passed"] for row in kept) is result["gate"]["passed"]


def test_with_nothing_left_to_do_it_says_so(
    driven: Driven, overrides: dict[str, Any], approved: tuple[dict[str, Any], list[Row]]
) -> None:
    found = amend(driven, overrides, None)
    assert found["state"] == "Completed", found
    assert found["result"]["run_id"] is None
    assert "Nothing to do" in found["artifacts"]["plan"]


def test_a_new_title_costs_nothing_and_is_written(
    driven: Driven,
    overrides: dict[str, Any],
    approved: tuple[dict[str, Any], list[Row]],
    file: Path,
    slug: str,
) -> None:
    edit = {"slug": slug, "title": "Another title", "critique": ""}
    found = amend(driven, overrides, edit, approve="yes")
    assert found["state"] == "Completed", found
    assert load(file).principle(slug).title == "Another title"
    assert load(file).principle(slug).critique == "Say what is missing."
    assert all(s["generated"] == s["trained"] == 0 for s in found["result"]["steps"])
