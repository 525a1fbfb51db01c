"""Verdicts in files: what a spreadsheet or Label Studio makes of them comes back the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution.schema import Principle
from storage.errors import InputError
from tasks.review.given import Taken, Taker
from tasks.review.label_studio import INTERFACE, read_tasks, tasks
from tasks.review.queue import Item
from tasks.review.say import said_by, verdict_of
from tasks.review.sheet import exact, neutral, read_sheet, sheet
from tasks.review.verdicts import Verdict, subject_of

AT = datetime(2020, 1, 1, tzinfo=UTC)
RULE = Principle("be-kind", "Be kind", "c", "r", "Which is kinder?")
TEXTS = [
    ("=1+1", "-2; or so"),
    ("'=quoted", "@home, or not"),
    ('A "b"\nand c', "+49 30\r\nis Berlin"),
    ("plain", "'apostrophe"),
]
ITEMS = [
    Item(
        subject_of(f"prm_{n}", one, other, ["prn_1"]),
        ({"role": "user", "content": f"=Why {n}?"},),
        (RULE,),
        f"rev_{n}",
        None,
        "none",
        0.0,
    )
    for n, (one, other) in enumerate(TEXTS)
]
SUBJECTS = [item.subject for item in ITEMS]
VERDICTS = [
    verdict_of(SUBJECTS[0], "a", "Ada <ada@example.org>", said_at=AT),
    verdict_of(SUBJECTS[1], "b", "Ada <ada@example.org>", "=SUM(A1)", "-note", AT),
    verdict_of(SUBJECTS[1], "tie", "Bob", said_at=AT),
    verdict_of(SUBJECTS[2], "both_bad", "Bob", said_at=AT),
]


@given(st.text("'=+-@\t\r\n x＝", max_size=6))
def test_no_cell_is_a_formula_and_each_comes_back(cell: str) -> None:
    assert neutral(cell)[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    assert exact(neutral(cell)) == cell


def take(path: Path, said: list[Verdict], standing: list[Verdict] | None = None) -> Taken:
    read = read_tasks if path.suffix == ".json" else read_sheet
    return Taker(SUBJECTS, said, said if standing is None else standing, "Eve").take(read(path))


def same(found: list[Verdict], wanted: list[Verdict]) -> bool:
    def key(verdict: Verdict) -> Any:
        return verdict.verdict_id, verdict.note

    return sorted(map(key, found)) == sorted(map(key, wanted))


def edited_by_a_spreadsheet(text: str) -> str:
    """Semicolons, no quotes that need not be, other line ends, columns moved and added."""
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    names = [*reversed(rows[0]), "my own"]
    made = io.StringIO()
    writer = csv.DictWriter(made, names, delimiter=";", lineterminator="\r\n", restval="!")
    writer.writerow({name: f" {name.upper()} " for name in names})
    for row in rows:
        writer.writerow({name: cell.replace("\r\n", "\n") for name, cell in row.items()})
    return made.getvalue()


SAVED: list[Callable[[str], bytes]] = [
    lambda text: text.encode(),
    lambda text: edited_by_a_spreadsheet(text).encode("utf-8-sig"),
]


@pytest.mark.parametrize("save", SAVED, ids=["as it is", "semicolons, BOM, columns moved"])
def test_a_table_comes_back_exact(tmp_path: Path, save: Callable[[str], bytes]) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(save(sheet(ITEMS, VERDICTS)))
    taken = take(path, [])
    assert same(taken.verdicts, VERDICTS)
    assert (taken.blank, taken.left_out) == (1, [])
    again = take(path, VERDICTS)
    assert (again.verdicts, again.known, again.read) == ([], 4, 5)


def rows(path: Path, *given: dict[str, str], names: str = "id,verdict,edited,by") -> Path:
    writer = csv.DictWriter(file := io.StringIO(), names.split(","))
    writer.writeheader()
    writer.writerows(given)
    path.write_text(file.getvalue(), encoding="utf-8")
    return path


def test_what_cannot_be_taken_is_left_out_with_its_reason(tmp_path: Path) -> None:
    own = SUBJECTS[0].subject_id
    path = rows(
        tmp_path / "pairs.csv",
        {"id": own, "verdict": " A "},
        {"id": own, "verdict": "maybe"},
        {"id": "sbj_none", "verdict": "a"},
        {"id": own, "verdict": "tie", "edited": "Both."},
        {"id": own, "edited": "Which?"},
        {"id": SUBJECTS[1].subject_id},
    )
    taken = take(path, [])
    assert [(v.author, said_by(v)) for v in taken.verdicts] == [("Eve", "a")]
    assert [fault.reason for fault in taken.left_out] == [
        "malformed",
        "unknown",
        "malformed",
        "malformed",
    ]
    assert (taken.blank, taken.read) == (1, 6)


def test_without_an_id_the_texts_tell_and_sides_may_be_turned(tmp_path: Path) -> None:
    a, b = SUBJECTS[3].shown
    given = [{"a": neutral(b), "b": neutral(a), "verdict": "a"}]
    path = rows(tmp_path / "pairs.csv", *given, names="a,b,verdict")
    (verdict,) = take(path, []).verdicts
    assert (verdict.subject, said_by(verdict)) == (SUBJECTS[3], "b")


def test_texts_that_were_changed_are_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(sheet(ITEMS, VERDICTS).replace("plain", "fancy").replace("'=1+1", "2"))
    taken = take(path, [])
    assert [fault.reason for fault in taken.left_out] == ["other_text"]
    assert same(taken.verdicts, VERDICTS[1:])


def test_an_old_file_takes_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(sheet(ITEMS, VERDICTS))
    newer = verdict_of(SUBJECTS[0], "tie", VERDICTS[0].author, said_at=AT + timedelta(days=1))
    assert take(path, [*VERDICTS, newer], [*VERDICTS[1:], newer]).verdicts == []
    path.write_text(sheet(ITEMS, VERDICTS).replace('"a","","Ada', '"b","","Ada'))
    (changed,) = take(path, [*VERDICTS, newer], [*VERDICTS[1:], newer]).verdicts
    assert said_by(changed) == "b"
    assert changed.said_at > newer.said_at


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("id,answer\nsbj_1,a\n", "no columns verdict and id"),
        ("id,verdict\nsbj_1,a\n", "no row of 1 is a verdict: row 2"),
        ("", "is an empty file"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    (path := tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=rule):
        take(path, [])


def test_label_studio_brings_them_back(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks(ITEMS, VERDICTS)))
    taken = take(path, [])
    assert same(taken.verdicts, VERDICTS)
    assert (taken.blank, take(path, VERDICTS).known) == (1, 4)


def test_annotations_of_label_studios_own(tmp_path: Path) -> None:
    """As its export has them: a choice, a side of a pairwise tag, one that was cancelled."""
    made = tasks(ITEMS, [])
    choice = {"from_name": "verdict", "type": "choices", "value": {"choices": ["both bad"]}}
    side = {"from_name": "pw", "type": "pairwise", "value": {"selected": "right"}}
    edit = {"from_name": "edited", "type": "textarea", "value": {"text": ["Mine."]}}
    at = "2020-01-02T10:00:00.000000Z"
    who = {"id": 1, "email": "ada@example.org"}
    made[0]["annotations"] = [{"result": [choice], "completed_by": who, "created_at": at}]
    made[1]["annotations"] = [{"result": [side, edit], "completed_by": 7}]
    made[2]["annotations"] = [{"result": [choice], "was_cancelled": True}]
    (tmp_path / "tasks.json").write_text(json.dumps([*made, {"id": 5}]))
    taken = take(tmp_path / "tasks.json", [])
    found = [(v.author, said_by(v), v.edited) for v in taken.verdicts]
    assert found == [("ada@example.org", "both_bad", None), ("user 7", "b", "Mine.")]
    assert taken.verdicts[0].said_at.day == 2
    assert (taken.blank, len(taken.left_out)) == (2, 1)


@pytest.mark.parametrize("text", ["{}", "[]", "nope", '[{"verdict": "a"}]'])
def test_a_bad_list_is_refused(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "tasks.json").write_text(text)
    with pytest.raises(InputError):
        take(path, [])


def test_label_studios_own_reader_takes_them(tmp_path: Path) -> None:
    reason = "label-studio-sdk is not installed"
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason=reason)
    converter = pytest.importorskip("label_studio_sdk.converter", reason=reason)
    interface, made = sdk.LabelInterface(INTERFACE), tasks(ITEMS, VERDICTS)
    interface.validate()
    for task in made:
        assert interface.validate_task({"data": task["data"]})
        assert all(interface.validate_annotation(a) for a in task["annotations"])
    (tmp_path / "tasks.json").write_text(json.dumps(made))
    to_json = converter.Converter(INTERFACE, str(tmp_path)).convert_to_json_min
    to_json(str(tmp_path / "tasks.json"), str(tmp_path / "out"), is_dir=False)
    (file,) = (tmp_path / "out").iterdir()
    found = [(row.get("verdict"), row.get("edited")) for row in json.loads(file.read_text())]
    words = [("both bad" if said_by(v) == "both_bad" else said_by(v), v.edited) for v in VERDICTS]
    assert found == [*words, (None, None)]
