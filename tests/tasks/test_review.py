"""Verdicts, their queue and their agreement: pure values, some of them worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from constitution.schema import Principle
from storage.errors import InputError
from tasks.review.agreement import agreement, alpha, kappa
from tasks.review.queue import Item, queue, without
from tasks.review.say import Said, said_by, verdict_of
from tasks.review.verdicts import BOTH_BAD, EVEN, Subject, Verdict, reviews, settle, subject_of

START = datetime(2020, 1, 1, tzinfo=UTC)
SUBJECT = subject_of("prm_1", "Yes.", "No, never.", ["prn_1"])


def said(by: str, what: Said, subject: Subject = SUBJECT, edited: str | None = None) -> Verdict:
    at = START + timedelta(minutes=len(by))
    return verdict_of(subject, what, by, edited, said_at=at)


def test_a_subject_is_its_content_in_no_order() -> None:
    assert subject_of("prm_1", "No, never. ", "Yes.", ["prn_1", "prn_1"]) == SUBJECT
    others = [
        subject_of("prm_2", "Yes.", "No, never.", ["prn_1"]),
        subject_of("prm_1", "Yes!", "No, never.", ["prn_1"]),
        subject_of("prm_1", "Yes.", "No, never.", ["prn_2"]),
    ]
    assert len({SUBJECT.subject_id, *(other.subject_id for other in others)}) == 4


def test_which_is_shown_as_a_is_drawn_by_content() -> None:
    drawn = [subject_of(f"prm_{n}", "Yes.", "No.", []) for n in range(400)]
    assert 150 < sum(subject.is_turned for subject in drawn) < 250
    for subject in drawn[:8]:
        a, b = subject.shown
        assert subject.text(subject.named("a")) == a
        assert subject.text(subject.named("b")) == b
        assert said_by(said("Ada", "b", subject)) == "b"


def first(n: int) -> list[Verdict]:
    return [said("x" * (i + 1), "a" if SUBJECT.named("a") == "first" else "b") for i in range(n)]


def second(n: int) -> list[Verdict]:
    return [said("y" * (i + 1), "b" if SUBJECT.named("a") == "first" else "a") for i in range(n)]


def ties(n: int, what: Said = "tie") -> list[Verdict]:
    return [said("z" * (i + 1), what) for i in range(n)]


@pytest.mark.parametrize(
    ("given", "preference", "reason"),
    [
        (first(1), 1.0, ""),
        (second(1), 0.0, ""),
        (first(2) + second(1), 2 / 3, ""),
        (first(1) + second(1), None, EVEN),
        (ties(1), None, EVEN),
        (first(1) + ties(1), 0.75, ""),
        (ties(1, "both_bad"), None, BOTH_BAD),
        (first(1) + ties(1, "both_bad"), None, BOTH_BAD),
        (first(2) + ties(1, "both_bad"), 1.0, ""),
    ],
)
def test_how_several_reviewers_are_settled(
    given: list[Verdict], preference: float | None, reason: str
) -> None:
    found = settle(given)
    assert found.preference == pytest.approx(preference)
    assert found.reason == reason


def test_the_newest_edit_of_the_better_answer_is_taken() -> None:
    side = said_by(first(1)[0])
    edits = [said("Al", side, edited="Yes, gladly."), said("Bertha", side, edited="Yes, always.")]
    other = said("Cy", "b" if side == "a" else "a", edited="No, not ever.")
    found = settle([*edits, other])
    assert (found.better, found.edited) == ("first", settle(edits[::-1]).edited)
    assert found.edited == "Yes, always."


@pytest.mark.parametrize(
    ("what", "edited", "rule"),
    [
        ("tie", "Perhaps.", "neither is"),
        ("a", "  ", "1 to"),
        ("a", "x" * 100_001, "1 to"),
        ("a", "half \ud800", "1 to"),
        ("a", SUBJECT.shown[1].upper(), "says what the other answer says"),
    ],
)
def test_an_edit_that_is_none_is_refused(what: Said, edited: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        said("Ada", what, edited=edited)


def test_an_edit_that_changes_nothing_is_a_verdict() -> None:
    assert said("Ada", "a", edited=SUBJECT.shown[0] + "\r\n").edited is None


def item(name: str, margin: float, disagreement: float = 0.0, about: str = "old") -> Item:
    principle = Principle(about, about, "c", "r", f"{about}?")
    subject = subject_of(name, "Yes.", "No.", [about])
    messages = ({"role": "user", "content": name},)
    return Item(subject, messages, (principle,), name, None, "none", margin, disagreement)


def test_the_queue_is_in_its_order() -> None:
    told = said("Ada", "a", subject_of("elsewhere", "One.", "Two.", ["old"]))
    ordered = [
        item("split", 0.0, 0.9),
        item("new", 0.02, about="new"),
        item("even", 0.0),
        item("unsure", 0.3, 0.2),
        item("unsure too", 0.3, about="new"),
        item("sure", 1.0, about="new"),
    ]
    assert queue([*ordered[::-1], ordered[2]], [told]) == ordered


def test_a_reviewer_is_not_asked_twice() -> None:
    items = [item(name, 0.0) for name in ("one", "two")]
    mine = said("Ada", "tie", items[0].subject)
    assert without(items, [mine], "Ada") == items[1:]
    assert without(items, [mine], "Bob") == items


def test_kappa_and_alpha_by_hand() -> None:
    # Two reviewers of 50: both yes 20, both no 15, yes-no 5, no-yes 10: (0.7 - 0.5) / (1 - 0.5).
    units = [["y", "y"]] * 20 + [["n", "n"]] * 15 + [["y", "n"]] * 5 + [["n", "y"]] * 10
    assert kappa(units) == pytest.approx(0.4)
    assert kappa([["y", "y"]]) is None
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", C: four observers, twelve
    # units, missing data, nominal: 0.743.
    observers = ["123321412   ", "1233224125 3", " 3332342251 ", "12332441251 "]
    columns = [[o[n] for o in observers if o[n] != " "] for n in range(12)]
    assert alpha([unit for unit in columns if len(unit) > 1]) == pytest.approx(0.743, abs=5e-4)
    assert alpha([]) is None


def test_agreement_says_its_n() -> None:
    subjects = [subject_of(f"prm_{n}", "Yes.", "No.", []) for n in range(4)]
    verdicts = [said("Ada", "a", s) for s in subjects] + [said("Bob", "a", s) for s in subjects[:2]]
    verdicts += [said("Bob", "tie", subjects[2])]
    found = agreement(verdicts)
    assert (found.n, found.share, found.measure) == (3, pytest.approx(2 / 3), "Cohen's kappa")
    assert agreement([*verdicts, said("Cyd", "a", subjects[0])]).measure.startswith("Kripp")
    assert agreement([]).n == 0


def test_reviews_are_found_by_content() -> None:
    found = reviews([*first(2), said("q", "tie", subject_of("prm_9", "a", "b", []))])
    settled: Any = found.of(subject_of("prm_1", "No, never.", "Yes.", ["prn_1"]))
    assert len(settled.verdicts) == 2
    assert found.of(subject_of("prm_1", "No, never.", "Yes.", ["prn_2"])) is None
