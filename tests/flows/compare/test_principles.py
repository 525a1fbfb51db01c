"""Two constitutions: every field that differs, and what it means for the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.schema import Example, WorkedAnswer
from flows.explain.compare.build import compare
from flows.explain.compare.principles import compare as compare_constitutions
from flows.explain.compare.report import ConstitutionDiff, Side
from flows.explain.compare.words import Piece
from storage.errors import InputError
from storage.ledger import now
from tasks.generation.record import constitution_id, record_constitution

SIDE = Side("x", "constitution", "con_1", "x")
EXAMPLE = Example("be-brief", "prompt", "response", "request", "critique", "request", "revision")


def of(before: Any, after: Any) -> ConstitutionDiff:
    return compare_constitutions(SIDE, SIDE, before, after)


@pytest.mark.parametrize(
    ("field", "value", "effect"),
    [
        ("critique", "New?", "rows"),
        ("revision", "New.", "rows"),
        ("weight", 2.0, "assignment"),
        ("applies_to", ("harm",), "assignment"),
        ("enabled", False, "assignment"),
        ("comparison", "New?", "judging"),
        ("title", "New", "teaching"),
        ("tags", ("new",), "none"),
        ("check", ("max_words", 9), "choosing"),
    ],
)
def test_every_field_says_what_it_costs(book: Any, field: str, value: Any, effect: str) -> None:
    found = of(book.rules, book.reworded(book.rules, "be-brief", **{field: value}))
    assert [(p.slug, p.change, p.effect) for p in found.principles] == [
        ("be-brief", "changed", effect)
    ]
    assert [(f.field, f.after, f.effect) for f in found.principles[0].fields] == [
        (field, value, effect)
    ]
    assert found.fields == ()


def test_tags_move_rows_where_rounds_use_them(book: Any) -> None:
    rules = replace(book.rules, rounds=(("new",),))
    found = of(rules, book.reworded(rules, "be-brief", tags=("new",)))
    assert found.principles[0].effect == "assignment"


def test_a_disabled_principle_may_change_for_nothing(book: Any) -> None:
    rules = book.reworded(book.rules, "be-brief", enabled=False)
    assert of(rules, book.reworded(rules, "be-brief", critique="?")).principles[0].effect == "none"


def test_added_and_removed(book: Any) -> None:
    fewer = replace(book.rules, principles=book.rules.principles[1:])
    assert [(p.slug, p.change) for p in of(fewer, book.rules).principles] == [("be-brief", "added")]
    removed = of(book.rules, fewer)
    assert [(p.slug, p.change) for p in removed.principles] == [("be-brief", "removed")]
    assert removed.fields == ()  # what is left stands in the same order


@pytest.mark.parametrize(
    ("change", "field", "effect"),
    [
        ({"name": "other"}, "name", "none"),
        ({"version": "2"}, "version", "none"),
        ({"rounds": (("a",), ())}, "rounds", "assignment"),
        ({"examples": (EXAMPLE,)}, "example 1, principle", "every_row"),
    ],
)
def test_the_whole_has_fields_too(
    book: Any, change: dict[str, Any], field: str, effect: str
) -> None:
    found = of(book.rules, replace(book.rules, **change))
    assert (found.fields[0].field, found.fields[0].effect) == (field, effect)
    assert len(found.fields) == (7 if "examples" in change else 1)


def test_the_note_of_an_example_reaches_no_model(book: Any) -> None:
    before = replace(book.rules, examples=(EXAMPLE,))
    after = replace(book.rules, examples=(replace(EXAMPLE, principle="be-kind"),))
    assert [(f.field, f.effect) for f in of(before, after).fields] == [
        ("example 1, principle", "none")
    ]


def test_the_examples_of_a_principle_are_for_a_teacher(book: Any) -> None:
    before = book.reworded(book.rules, "be-brief", examples=(WorkedAnswer("Hi", "Hello.", 3),))
    after = book.reworded(before, "be-brief", examples=(WorkedAnswer("Hi", "Good day.", 9),))
    (changed,) = of(before, after).principles
    assert [(f.field, f.before, f.after, f.effect) for f in changed.fields] == [
        ("example 1, response", "Hello.", "Good day.", "teaching")
    ]
    (added,) = of(book.rules, before).principles
    assert [f.field for f in added.fields] == ["example 1, prompt", "example 1, response"]


def test_order_costs_nothing(book: Any) -> None:
    found = of(book.rules, replace(book.rules, principles=book.rules.principles[::-1]))
    assert [(f.field, f.effect) for f in found.fields] == [("order", "none")]
    assert found.principles == ()


def test_words_that_differ_are_in_the_json(book: Any) -> None:
    after = book.reworded(book.rules, "be-brief", critique="What misses be-brief?")
    change = of(book.rules, after).principles[0].fields[0]
    assert change.pieces[1:3] == [Piece("removed", "breaks"), Piece("added", "misses")]


def test_a_file_and_the_ledger_s_constitution(book: Any, tmp_path: Path) -> None:
    record_constitution(book.ledger, book.rules, "rules.yaml")
    path = tmp_path / "rules.yaml"
    words = "critique: 'What breaks {0}?', revision: Keep {0}., comparison: 'Which?'"
    slugs = [p.slug for p in book.rules.principles]
    lines = [f"  - {{slug: {slug}, title: {slug}, {words.format(slug)}}}" for slug in slugs]
    path.write_text("\n".join(["name: rules", "principles:", *lines]), encoding="utf-8")
    kept = constitution_id(book.rules)
    assert compare(book.ledger, str(path), kept[:14], 50).same
    path.write_text(path.read_text(encoding="utf-8").replace("Which?", "Who?"), encoding="utf-8")
    report = compare(book.ledger, str(path), kept[:14], 50)
    assert [p.effect for p in report.constitution.principles] == ["judging"] * 3  # type: ignore[union-attr]


def test_a_constitution_written_before_a_field_was_there(book: Any) -> None:
    body = '{"name":"old","principles":[{"slug":"a","title":"A","critique":"c","revision":"r",'
    body += '"comparison":"q","gone":1}]}'
    for row_id, text in (("con_1", body), ("con_2", body.replace('"c"', '"d"'))):
        row = {"constitution_id": row_id, "name": "old", "principle_ids": ["prn_1"], "body": text}
        book.insert("constitutions", [row | {"created_at": now()}])
    found = compare(book.ledger, "con_1", "con_2", 50).to_json()["constitution"]
    assert [f["field"] for f in found["principles"][0]["fields"]] == ["critique"]


@pytest.mark.parametrize("name", ["nothing", "latest/none", "con_f", "no/such.txt", "", "x" * 5000])
def test_a_name_that_means_nothing(book: Any, name: str) -> None:
    record_constitution(book.ledger, book.rules, "rules.yaml")
    with pytest.raises(InputError, match="give a constitution"):
        compare(book.ledger, name, "default", 50)


def test_different_kinds_are_refused(book: Any) -> None:
    pairs = book.preferences([book.made("p1", "d", "r")])
    with pytest.raises(InputError, match="two constitutions, two snapshots or two checkpoints"):
        compare(book.ledger, "default", pairs, 50)
    with pytest.raises(InputError, match="no differences to show"):
        compare(book.ledger, "be-brief", pairs, 50)
