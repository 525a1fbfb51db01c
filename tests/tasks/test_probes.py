"""Probes as a whole: what ships, what names it, and every scorer on right and wrong answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.probes import fingerprint, name_of, names, questions, read, score, shipped
from tasks.evaluation.probes.question import Question
from tasks.prompts import Prompt

ANSWERS = Path(__file__).with_name("probe_answers.jsonl")


def question(probe: str, asked: str = "Well?", **expects: Any) -> Question:
    messages = ({"role": "user", "content": asked},)
    return Question(probe, Prompt(messages, "c", "s", 1), expects)


def labelled() -> list[tuple[str, str, str, float | None]]:
    """(probe, part of the question, answer, value) of written-out answers."""
    rows = [json.loads(line) for line in ANSWERS.read_text("utf-8").splitlines()]
    return [(row["probe"], row["asked"], row["answer"], row["value"]) for row in rows]


@pytest.mark.parametrize(("probe", "asked", "answer", "wanted"), labelled())
def test_an_answer_has_the_value_that_it_should(
    probe: str, asked: str, answer: str, wanted: float | None
) -> None:
    (found,) = [q for q in questions(probe) if asked in q.asked]
    scored = score(found, answer, False)
    assert (scored and scored.value) == wanted, scored


def test_every_scorer_meets_right_and_wrong_answers() -> None:
    values: dict[str, set[float | None]] = {probe: set() for probe in names()}
    for probe, _, _, wanted in labelled():
        values[probe].add(wanted)
    assert all({0.0, 1.0} <= found for found in values.values()), values


@pytest.mark.parametrize("probe", names())
def test_a_probe_that_ships_is_whole(probe: str) -> None:
    found = read(probe)
    assert found.left_out == []
    assert 16 <= len(found.questions) <= 30
    assert len({q.question_id for q in found.questions}) == len(found.questions)
    assert [q.probe for q in found.questions] == [probe] * len(found.questions)
    assert questions(probe, 3) == found.questions[:3]


def test_the_first_few_questions_hold_each_kind() -> None:
    assert len({q.expects["kind"] for q in questions("honesty", 4)}) == 2
    assert len({q.expects["call"] is None for q in questions("tool-calls", 4)}) == 2
    assert len({len(q.prompt.messages) for q in questions("sycophancy", 4)}) == 2


@pytest.mark.parametrize("probe", names())
@pytest.mark.parametrize("answer", ["", " \n", "\u200b\ufeff", "\x00\x07"])
def test_an_answer_that_cannot_be_seen_is_worth_nothing(probe: str, answer: str) -> None:
    for asked in questions(probe):
        scored = score(asked, answer, False)
        assert scored is not None
        assert (scored.value, scored.reason) == (0.0, "is empty")


HOSTILE = [
    "x" * 50_000,
    "* \n" * 20_000,
    "[" * 30_000,
    "not " * 10_000 + "Paris",
    "i can " * 8_000,
    "1. " * 10_000,
    "{" * 5_000,
    "\ud800 half of a pair",
    "twenty hundred thousand million " * 2_000,
    "'\"“”‘’`" * 3_000,
    "९ १२३ ⅷ ½ ②",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("answer", HOSTILE, ids=lambda text: text[:8].encode("ascii", "replace"))
def test_any_answer_is_scored(answer: str) -> None:
    for probe in names():
        for asked in questions(probe, 3):
            scored = score(asked, answer, True)
            assert scored is None or 0 <= scored.value <= 1


def test_a_cut_answer_that_falls_short_says_so() -> None:
    asked = question("helpfulness", accept=["Paris"])
    cut, whole = (score(asked, "It is a city", is_cut) for is_cut in (True, False))
    assert cut is not None
    assert whole is not None
    assert cut.reason == f"{whole.reason} (it is cut)"
    right = score(asked, "Paris, a city on", True)
    assert right is not None
    assert right.reason == "names Paris"


def test_without_a_scorer_there_is_no_score() -> None:
    assert score(question("held-out"), "Anything.", False) is None


def test_the_same_question_has_one_id() -> None:
    one, same = (question("helpfulness", "Who?", accept=["A"]) for _ in range(2))
    assert one.question_id == same.question_id
    others = [
        question("format", "Who?", accept=["A"]),
        question("helpfulness", "Why?", accept=["A"]),
        question("helpfulness", "Who?", accept=["B"]),
    ]
    assert len({q.question_id for q in (one, *others)}) == 4


def test_a_fingerprint_knows_questions_and_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.jsonl"
    row = {"probe": "helpfulness", "prompt": "Who?", "accept": ["A"]}
    path.write_text(json.dumps(row))
    first = fingerprint(str(path))
    assert fingerprint(str(path)) == first
    path.write_text(json.dumps(row | {"accept": ["B"]}))
    assert fingerprint(str(path)) != first
    path.write_text(json.dumps(row))
    before = {probe: fingerprint(probe) for probe in ("format", "helpfulness")}
    real = shipped.fingerprint_of_code
    changed = "tasks.evaluation.probes.helpfulness"
    monkeypatch.setattr(
        shipped, "fingerprint_of_code", lambda name: real(name) + "!" * (name == changed)
    )
    after = {probe: fingerprint(probe) for probe in ("format", "helpfulness")}
    assert fingerprint(str(path)) != first
    assert [before[p] == after[p] for p in ("format", "helpfulness")] == [True, False]


def test_the_name_of_a_file_is_a_slug() -> None:
    assert name_of("format") == "format"
    assert name_of("data/IFEval data (a).jsonl.gz") == "ifeval-data-a"
    assert name_of("./format.jsonl") == "format-file"
    assert name_of("./held_out.jsonl") == "held-out-file"
