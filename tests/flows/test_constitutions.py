"""The constitution in force: a pointer in the ledger, set from a file, rolled back by one move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.load import load
from constitution.schema import Constitution, Principle, WorkedAnswer
from flows.plan.constitutions import keep_constitution, read_constitution
from storage.errors import InputError
from storage.ledger import Ledger
from storage.refs import rollback, set_ref
from tasks.generation.calls import principle_id
from tasks.generation.record import constitution_id

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


@pytest.mark.parametrize("name", ["default", "checkable"])
def test_a_kept_version_is_read_back_whole(ledger: Ledger, name: str) -> None:
    constitution, path = read_constitution(name, ledger)
    constitution = replace(constitution, rounds=(("honest",), ()), version="7")
    found = keep_constitution(ledger, constitution, path)
    assert found == constitution_id(constitution)
    set_ref(ledger, "constitution", found, "me")
    again, no_file = read_constitution("ref:constitution", ledger)
    assert (again, no_file) == (_without_lines(constitution), None)


def _without_lines(constitution: Any) -> Any:
    return replace(
        constitution,
        principles=tuple(
            replace(p, line=0, examples=tuple(replace(e, line=0) for e in p.examples))
            for p in constitution.principles
        ),
        examples=tuple(replace(e, line=0) for e in constitution.examples),
    )


def test_a_principle_s_examples_are_part_of_the_version_and_of_no_request() -> None:
    brief = Principle("be-brief", "Be brief", "a", "b", "c?", check=("max_words", 9))
    plain = Constitution("test", (brief, Principle("be-kind", "Be kind", "a", "b", "c?")))
    assert constitution_id(plain) == "con_f121f6a929651790a18ffff98f75e2ab"  # as it always was
    worked = replace(brief, examples=(WorkedAnswer("Hi", "Hello.", line=7),))
    moved = replace(brief, examples=(WorkedAnswer("Hi", "Hello.", line=8),))
    found = {constitution_id(replace(plain, principles=(p,))) for p in (brief, worked, moved)}
    assert len(found) == 2
    assert principle_id(worked) == principle_id(brief) == "prn_6e931b98709d72afa762491f1ef1432d"


def test_a_rollback_is_one_pointer(ledger: Ledger) -> None:
    path = ROOT / "constitution" / "default.yaml"
    old = load(path)
    new = replace(old, principles=(*old.principles, Principle("new", "", "a", "b", "c?")))
    for constitution in (old, new):
        found = keep_constitution(ledger, constitution, path)
        set_ref(ledger, "constitution", found, "me")
    assert len(read_constitution("ref:constitution", ledger)[0].principles) == 23
    rollback(ledger, "constitution", "me")
    assert read_constitution("ref:constitution", ledger)[0] == old


def test_a_ref_to_nothing(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no ref of this name points to a constitution"):
        read_constitution("ref:constitution", ledger)


def test_from_a_file_on_the_command_line(solon: Any, copy_of_constitution: Any) -> None:
    path = copy_of_constitution("name: default", "name: mine")
    first = solon.json("ref", "set", "constitution", "default")
    second = solon.json("ref", "set", "constitution", str(path), "--note", "trial")
    assert second["was"] == first["is"]
    words = ("--recipe", "smoke", "--set", "constitution=ref:constitution")
    assert solon.json("plan", *words)["steps"][0]["to_generate"] == [48, 48]
    assert solon.json("ref", "rollback", "constitution")["is"] == first["is"]
    err = solon.run("ref", "set", "constitution", "no-such", code=2)[1]
    assert len(err.splitlines()) == 1
