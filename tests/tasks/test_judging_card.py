"""The report card: planted judges are each caught, and its measures are worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from constitution.load import load, resolve
from storage.errors import InputError
from storage.ledger import Ledger
from tasks.generation.calls import Answer
from tasks.intervals import wilson
from tasks.judging import memo
from tasks.judging.card import Card, Row, report_card, row_of, shortfalls
from tasks.judging.card_plot import plot_reliability
from tasks.judging.card_text import markdown
from tasks.judging.comparisons import Comparison
from tasks.judging.figures import Orders
from tasks.judging.gold import GoldPair
from tasks.judging.judge import Judge
from tasks.prompts import Prompt

from .planted_judges import (
    Pick,
    PlantedJudge,
    always_first,
    longest,
    perfect,
    swapped,
)

PAIRS = 40
PRINCIPLES = load(resolve("default")).principles[:2]


def gold_pairs() -> list[GoldPair]:
    """Half of the better responses are the first, half the longer, each with each."""
    pairs = []
    for n in range(PAIRS):
        prompt = Prompt(({"role": "user", "content": f"Question {n}?"},), "c", "file", n)
        better = Answer("", f"A good answer {n}." + " It goes on." * (n // 2 % 2), "stop", 0)
        worse = Answer("", f"Answer {n} is bad, it is." + " So?" * (1 - n // 2 % 2), "stop", 0)
        pair = (better, worse) if n % 2 else (worse, better)
        slug = PRINCIPLES[n % 4 // 3].slug
        pairs.append(GoldPair(prompt, *pair, is_first_better=bool(n % 2), principle=slug))
    return pairs


def card_of(pick: Pick, tmp_path: Path, said: tuple[str, ...] = ()) -> Card:
    """The card of a planted judge, asked through the memo."""
    judge = Judge("mdl_planted", verdicts="sampled" if said else "logprobs", samples=4)
    known = {principle.slug: principle for principle in PRINCIPLES}
    gold = gold_pairs()
    asked = [
        Comparison(judge, pair.prompt, known[str(pair.principle)], pair.first, pair.second)
        for pair in gold
    ]
    ledger = Ledger(tmp_path / "ledger.duckdb")
    judged = memo.complete(ledger, PlantedJudge(pick, said), "run_1", asked)
    rows = [
        row_of(pair, comparison, judged[comparison.comparison_id])
        for pair, comparison in zip(gold, asked, strict=True)
    ]
    return report_card(rows, judge.limits, judge.abstain)


def test_a_judge_that_is_right_has_nothing_found_against_it(tmp_path: Path) -> None:
    card = card_of(perfect, tmp_path)
    assert card["findings"] == []
    assert card["accuracy"] == {"value": 1.0, "low": wilson(40, 40)[0], "high": 1.0, "n": 40}
    assert (card["pairs"], card["abstained"]) == (40, 0)
    assert card["consistency"]["value"] == card["decided"]["value"] == 1.0
    assert card["first_place"]["value"] == 0.5
    assert card["longer"]["value"] == card["longer_in_gold"]["value"] == 0.5
    assert card["calibration_error"]["value"] == pytest.approx(0.1)  # sure at 0.9, right always
    assert [own["n"] for own in card["reliability"]] == [0, 0, 0, 0, 40]
    assert {slug: own["pairs"] for slug, own in card["principles"].items()} == {
        PRINCIPLES[0].slug: 30,
        PRINCIPLES[1].slug: 10,
    }


def test_a_judge_that_always_says_a_is_caught(tmp_path: Path) -> None:
    card = card_of(always_first, tmp_path)
    assert card["first_place"]["value"] == 1.0
    assert card["consistency"]["value"] == card["decided"]["value"] == 0.0
    assert card["abstained"] == 40
    assert card["accuracy"]["value"] is None
    assert card["accuracy_all"]["value"] == 0.5
    assert card["findings"] == [
        "It cannot be told from chance.",
        "It names the response shown first in 100% of its answers.",
        "It decided no pair.",
    ]


def test_a_judge_that_likes_length_is_caught(tmp_path: Path) -> None:
    card = card_of(longest, tmp_path)
    assert card["longer"]["value"] == 1.0
    assert card["longer_in_gold"]["value"] == 0.5
    assert card["findings"][1:] == [
        "It names the longer response in 100% of the pairs, where it is the better one in 50%."
    ]


def test_a_judge_whose_verdicts_are_swapped_is_caught(tmp_path: Path) -> None:
    card = card_of(swapped, tmp_path)
    assert card["accuracy"]["value"] == 0.0
    assert card["consistency"]["value"] == 1.0
    assert card["findings"] == [
        "It is right less often than chance: its verdicts may be the wrong way round."
    ]


def test_a_judge_that_rambles_is_caught(tmp_path: Path) -> None:
    card = card_of(perfect, tmp_path, said=("A", "Well, A", "B", "I cannot say"))
    assert card["unparsed"]["value"] == 0.5
    assert card["unparsed"]["n"] == 40 * 2 * 4
    assert "50% of its sampled verdicts cannot be read." in card["findings"]
    assert (card["accuracy"]["value"], card["abstained"]) == (None, 0)  # all even


def row(pair: str, orders: Orders, is_first_better: bool = True, principle: str = "x") -> Row:
    return Row(pair, principle, orders, is_first_better, 10, 5)


ROWS = [
    row("right", Orders(0.9, 0.7)),
    row("wrong", Orders(0.2, 0.4)),
    row("split", Orders(0.9, 0.3)),
    row("even", Orders(0.5, 0.5)),
    row("unread", Orders(None, 0.9)),
    row("two", Orders(0.8, 0.8), False, "x"),
    row("two", Orders(0.1, 0.1), False, "y"),
]


def test_measures_by_hand() -> None:
    card = report_card(ROWS)
    assert (card["pairs"], card["questions"], card["abstained"]) == (6, 7, 2)
    assert card["accuracy"]["value"] == pytest.approx(2 / 3)  # right, wrong, two (0.45: second)
    assert card["decided"]["value"] == pytest.approx(3 / 6)
    assert card["accuracy_all"]["value"] == pytest.approx((1 + 0 + 1 + 0.5 + 1) / 5)
    assert card["consistency"]["value"] == pytest.approx(4 / 7)
    # shown first: 0.9, 0.2, 0.9, 0.5, 0.8, 0.1; as B: 0.7, 0.4, 0.3, 0.5, 0.9, 0.8, 0.1
    assert card["first_place"]["value"] == pytest.approx((3 + 0.5 + 3 + 0.5) / 13)
    assert card["longer"]["value"] == pytest.approx((1 + 0 + 1 + 0.5 + 0) / 5)
    assert card["longer_in_gold"]["value"] == pytest.approx(5 / 6)
    # confidence: 0.8 right, 0.7 wrong, 0.6 right, 0.5 half, 0.55 right
    assert [own["n"] for own in card["reliability"]] == [2, 1, 1, 1, 0]
    gaps = (abs(0.75 - 0.525) * 2 + abs(1 - 0.6) + abs(0 - 0.7) + abs(1 - 0.8)) / 5
    assert card["calibration_error"]["value"] == pytest.approx(gaps)
    assert card["principles"]["y"]["accuracy"]["value"] == 1.0
    assert card["unparsed"] == {"value": None, "low": None, "high": None, "n": 0}
    assert json.loads(json.dumps(card)) == card


def test_an_empty_card_and_a_wide_margin() -> None:
    assert report_card([])["accuracy"]["value"] is None
    assert report_card([])["findings"] == []
    assert report_card(ROWS, margin=1.0)["abstained"] == 1


def test_what_falls_short_of_a_floor_is_said() -> None:
    card = report_card(ROWS)
    assert shortfalls(card, {"accuracy": 0.6, "consistency": 0.5}) == []
    assert shortfalls(card, {"accuracy": 0.7, "consistency": 0.9}) == [
        "The judge's accuracy is 0.667 (n = 3); it must be at least 0.7.",
        "The judge's consistency is 0.571 (n = 7); it must be at least 0.9.",
    ]
    nothing = shortfalls(report_card([]), {"accuracy": 0.5})
    assert nothing == ["The judge's accuracy has no value; it must be at least 0.5."]
    with pytest.raises(InputError, match=r"luck: is no measure .* accuracy_all"):
        shortfalls(card, {"luck": 0.5})


def test_the_card_as_markdown_and_plot(tmp_path: Path) -> None:
    rows = [*ROWS, row("odd", Orders(0.9, 0.9), principle="a|b")]
    text = markdown(report_card(rows))
    assert text.startswith("7 gold pairs, 8 questions, 2 pairs abstained from.\n\n- It cannot")
    assert "| both orders name the same response | 0.625 | 0.306 to 0.863 | 8 |" in text
    assert "| 0.5 to 0.6 | 2 | 0.525 | 0.750 |" in text
    assert "| a\\|b | 1 | 1.00 (0.21 to 1.00) |" in text
    assert "cannot be read" not in text  # no verdict was sampled
    widths = {
        line.replace("\\|", "").count("|") for line in text.split("| principle")[1].splitlines()[1:]
    }
    assert len(widths) == 1
    plot_reliability(tmp_path / "plot.png", report_card(rows)["reliability"])
    assert (tmp_path / "plot.png").stat().st_size > 5000
