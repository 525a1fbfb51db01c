"""Rules over a whole snapshot, worked by hand or on rows where the answer is known."""

from __future__ import annotations

import math

import pytest

from tasks.hygiene.duplicates import near_duplicates, overlap_finding, overlaps
from tasks.hygiene.findings import length_bias, openings, refusals
from tasks.hygiene.overused import PRIOR, overused, weigh

LONG = "The moon goes around the earth once in about a month and we see the light of the sun on it "
LONG *= 2


def test_log_odds_by_hand() -> None:
    """One word on each side, "a" three to one: Monroe et al. 2008 with a prior of PRIOR * 1/2."""
    pairs = [("a", "b"), ("a", "b"), ("a", "b"), ("b", "a")]
    found = {phrase.text: phrase for phrase in weigh(pairs, least=1)}
    more, less = 3 + PRIOR / 2, 1 + PRIOR / 2
    z = 2 * (math.log(more) - math.log(less)) / math.sqrt(1 / more + 1 / less)
    assert found["a"].z == pytest.approx(z)
    assert found["b"].z == pytest.approx(-z)
    assert (found["a"].chosen, found["a"].rejected) == (3, 1)


def test_a_phrase_counts_once_an_answer_and_does_not_cross_answers() -> None:
    found = {p.text: p for p in weigh([("as an as an as an", "one two"), ("three", "four")], 1)}
    assert (found["as an"].chosen, found["as an"].rejected) == (1, 0)
    assert "an three" not in found
    assert "an as an as" in found


def test_planted_phrase_is_found_and_an_even_one_is_not() -> None:
    words = ["red", "blue", "green", "grey", "pink"]
    pairs = [
        (f"I hope this helps number {i} {words[i % 5]}", f"number {i} {words[i % 5]} it is so")
        for i in range(200)
    ]
    found = [p for p in weigh(pairs) if p.z > 4]
    assert {"i hope this helps", "hope this", "helps"} <= {p.text for p in found}
    assert not {"number", "red"} & {p.text for p in found}
    assert overused(pairs).count == len(found)


def test_no_rows_no_findings() -> None:
    assert weigh([]) == []
    assert weigh([("", "")]) == []
    assert openings([]).count == 0
    assert length_bias([]).longer is None
    assert near_duplicates({}) == []
    assert overlaps({}, {"a": LONG}) == []


def test_length_bias() -> None:
    one_sided = [("one two three four", "one two")] * 60 + [("one", "one two")] * 10
    found = length_bias(one_sided)
    assert found.longer == pytest.approx(60 / 70)
    assert found.words == pytest.approx((60 * 2 - 10) / 70)
    assert found.words_interval[0] < found.words < found.words_interval[1]
    assert found.longer_interval[0] > 0.6
    assert found.finding.count == 60
    even = length_bias([("one two", "one"), ("one", "one two"), ("one", "two")] * 20)
    assert (even.longer, even.words, even.finding.count) == (0.5, 0.0, 0)


def test_boilerplate_openings() -> None:
    texts = ["As an AI, I think so."] * 3 + [f"Number {i} is good." for i in range(17)]
    found = openings(texts)
    assert (found.count, found.examples) == (3, ("3 x as an ai",))
    assert openings(texts, threshold=0.2).count == 0


def test_refusals_are_counted_with_examples() -> None:
    found = refusals([("Write a poem.", "I can't help with that."), ("Is it so?", "No.")])
    assert (found.count, found.examples) == (1, ("I can't help with that.",))


def test_near_duplicates_are_groups() -> None:
    other = "Iron rusts where water and air meet it, and salt makes it rust much faster than before"
    texts = {"a": LONG, "b": other, "c": LONG.upper() + "!", "d": LONG + "at night", "e": "Yes."}
    assert near_duplicates(texts) == [["a", "c", "d"]]
    assert near_duplicates(texts, threshold=1.0) == [["a", "c"]]


def test_a_likeness_below_the_threshold_is_none() -> None:
    """24 runs of 32 shared: 0.75, which the hashes alone take for 0.8 now and then."""
    rows = {}
    for row in range(60):
        words = [f"w{row}x{at}" for at in range(30)]
        rows[f"{row}a"] = " ".join(words)
        rows[f"{row}b"] = " ".join([*words[:26], *(word + "y" for word in words[26:])])
    assert near_duplicates(rows, threshold=0.8) == []
    assert len(near_duplicates(rows, threshold=0.7)) >= 55


def test_overlap_of_training_and_held_out_prompts() -> None:
    training = {"t1": LONG, "t2": "How do I bake a loaf of bread without yeast?"}
    held_out = {"h1": LONG + "too", "h2": "How tall is the tower?"}
    assert overlaps(training, held_out) == [("t1", "h1")]
    assert overlap_finding(training, held_out).count == 1
