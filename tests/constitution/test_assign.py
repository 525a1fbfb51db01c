"""The properties that make an edit cheap: what an edit moves, and that nothing else moves."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constitution.assign import _ending, applicable, assign, draw
from constitution.errors import ConstitutionError
from constitution.schema import Constitution, Principle

IDS = [f"prm_{i:032x}" for i in range(2000)]


def principle(slug: str, weight: float = 1.0, **fields: object) -> Principle:
    made = Principle(slug, slug, "Criticise.", "Revise.", "Which is better?", weight=weight)
    return replace(made, **fields)  # type: ignore[arg-type]


def constitution(*principles: Principle) -> Constitution:
    return Constitution("test", principles)


def of(count: int) -> Constitution:
    return constitution(*(principle(f"rule-{i}") for i in range(count)))


def slugs(c: Constitution, round: int = 0) -> list[str]:
    return [assign(c, i, round).slug for i in IDS]


def moved(before: Constitution, after: Constitution, round: int = 0) -> list[tuple[str, str]]:
    pairs = zip(slugs(before, round), slugs(after, round), strict=True)
    return [(was, now) for was, now in pairs if was != now]


def near(count: int, share: float) -> bool:
    """True within 3 standard deviations of a binomial count over `IDS`."""
    n = len(IDS)
    return abs(count - n * share) <= 3 * math.sqrt(n * share * (1 - share))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 9), st.text(min_size=1, max_size=30), st.integers(0, 20))
def test_words_titles_tags_and_order_move_nothing(
    data: st.DataObject, count: int, words: str, round: int
) -> None:
    before = of(count)
    edited = [
        replace(p, title=words, critique=words, revision=words, comparison=words, tags=(words,))
        for p in data.draw(st.permutations(before.principles))
    ]
    for prompt_id in IDS[:5]:
        was, now = assign(before, prompt_id, round), assign(constitution(*edited), prompt_id, round)
        assert was.slug == now.slug
        assert now.critique == words


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.text(max_size=20), st.integers(0, 3))
def test_a_prompt_meets_every_principle_once_before_any_twice(
    count: int, prompt_id: str, turn: int
) -> None:
    c = of(count)
    met = [assign(c, prompt_id, turn * count + r).slug for r in range(count)]
    assert sorted(met) == sorted(p.slug for p in c.principles)


@pytest.mark.parametrize("count", [4, 16])
def test_adding_or_removing_one_of_n_moves_its_share_only(count: int) -> None:
    small, large = of(count - 1), of(count)
    last = f"rule-{count - 1}"
    added, removed = moved(small, large), moved(large, small)
    assert all(now == last for _, now in added)
    assert all(was == last for was, _ in removed)
    assert near(len(added), 1 / count)


def test_later_rounds_move_little_more_than_the_share() -> None:
    # its own share, and the few rows that an earlier change left another principle free for
    assert 1 / 16 < len(moved(of(15), of(16), round=2)) / len(IDS) < 1.5 / 16


def test_disabling_moves_the_same_rows_as_removing() -> None:
    without = constitution(*of(8).principles[1:])
    disabled = constitution(replace(of(8).principles[0], enabled=False), *of(8).principles[1:])
    assert slugs(disabled) == slugs(without)


def test_a_weight_moves_rows_to_or_from_its_principle_only() -> None:
    before = of(6)
    after = constitution(replace(before.principles[0], weight=3.0), *before.principles[1:])
    gained = moved(before, after)
    assert gained
    assert all(now == "rule-0" for _, now in gained)


def test_weights_are_shares() -> None:
    weights = {"a": 0.5, "b": 1.0, "c": 2.0, "d": 6.5}
    c = constitution(*(principle(slug, weight) for slug, weight in weights.items()))
    counts = Counter(slugs(c))
    expected = {slug: len(IDS) * w / 10 for slug, w in weights.items()}
    chi_square = sum((counts[s] - e) ** 2 / e for s, e in expected.items())
    assert chi_square < 16.27  # 3 degrees of freedom, p = 0.001


def test_rounds_and_prompts_are_independent_draws() -> None:
    c = of(4)
    pairs = Counter(zip(slugs(c, 0), slugs(c, 4), strict=True))  # round 4 begins a new pass
    chi_square = sum((pairs[a, b] - 125) ** 2 / 125 for a, b in pairs)
    assert len(pairs) == 16
    assert chi_square < 37.70  # 15 degrees of freedom, p = 0.001


def test_the_hash_is_the_documented_one() -> None:
    # printf '["prm_1",0,"ä"]' | b2sum -l 64
    digest = blake2b(b'["prm_1",0' + _ending("ä"), digest_size=8).digest()
    assert digest.hex() == "55718cd0ae95413c"
    k = 0x55718CD0AE95413C >> 11
    assert draw(digest, 2.0) == -math.log((k + 1) / 2**53) / 2


def test_golden_assignments_hold_for_ever() -> None:
    c = of(8)
    assert "".join(assign(c, i, 0).slug[-1] for i in IDS[:8]) == "52634725"
    assert "".join(assign(c, IDS[0], r).slug[-1] for r in range(10)) == "5214306756"


def test_assignment_ignores_the_global_random_state() -> None:
    random.seed(1)
    state = random.getstate()
    assign(of(3), "prm_1", 0)
    assert random.getstate() == state


def test_categories() -> None:
    only_code = principle("code", applies_to=("coding",))
    c = constitution(only_code, principle("all"))
    assert {assign(c, i, 0, "coding").slug for i in IDS[:50]} == {"code", "all"}
    assert {assign(c, i, 0, "poetry").slug for i in IDS[:50]} == {"all"}
    assert {assign(c, i, 0, None).slug for i in IDS[:50]} == {"code", "all"}
    assert applicable(c, "poetry") == (c.principles[1],)


def test_what_cannot_be_assigned() -> None:
    c = constitution(principle("code", applies_to=("coding",)))
    with pytest.raises(ConstitutionError, match="'poetry': no enabled principle"):
        assign(c, "prm_1", 0, "poetry")
    with pytest.raises(ConstitutionError, match="-1: a round is counted from 0"):
        assign(c, "prm_1", -1)
    with pytest.raises(ConstitutionError, match="no enabled principle"):
        assign(constitution(principle("off", enabled=False)), "prm_1", 0)
