"""The rule of rounds and policies against a second, plain writing of it, and what edits leave."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constitution.assign import Assigner, applicable, assign, draw
from constitution.errors import ConstitutionError
from constitution.load import load, resolve
from constitution.schema import Constitution, Principle

IDS = [f"prm_{i:032x}" for i in range(2000)]


def principle(slug: str, weight: float = 1.0, **fields: object) -> Principle:
    made = Principle(slug, slug, "Criticise.", "Revise.", "Which is better?", weight=weight)
    return replace(made, **fields)  # type: ignore[arg-type]


def of(count: int) -> Constitution:
    return Constitution("test", tuple(principle(f"rule-{i}") for i in range(count)))


def plain_draw(prompt_id: str, round: int, slug: str, weight: float) -> float:
    message = json.dumps([prompt_id, round, slug], ensure_ascii=False, separators=(",", ":"))
    k = int.from_bytes(hashlib.blake2b(message.encode(), digest_size=8).digest()[:7], "big") >> 3
    return -math.log((k + 1) / 2**53) / weight


def plainly(c: Constitution, prompt_id: str, rounds: int, category: str | None) -> list[str]:
    met: list[str] = []
    for round in range(rounds):
        tags = c.rounds[round] if round < len(c.rounds) else ()
        may = [
            p
            for p in c.principles
            if p.enabled
            and (category is None or not p.applies_to or category in p.applies_to)
            and (not tags or any(tag in p.tags for tag in tags))
        ]
        least = min(met.count(p.slug) for p in may)
        left = [p for p in may if met.count(p.slug) == least]
        met.append(
            min(left, key=lambda p: (plain_draw(prompt_id, round, p.slug, p.weight), p.slug)).slug
        )
    return met


TAGS, CATEGORIES = ("x", "y", "z"), ("art", "law")
principles = st.builds(
    principle,
    st.integers(0, 99).map(lambda i: f"rule-{i}"),
    st.sampled_from([0.5, 1.0, 1.0, 3.0]),
    tags=st.lists(st.sampled_from(TAGS), unique=True).map(tuple),
    applies_to=st.lists(st.sampled_from(CATEGORIES), unique=True).map(tuple),
    enabled=st.sampled_from([True, True, True, False]),
)
whole = principle("whole", tags=TAGS)  # so that no round and no category is left without one
policies = st.lists(st.lists(st.sampled_from(TAGS), unique=True).map(tuple), max_size=4).map(tuple)
constitutions = st.builds(
    lambda found, rounds: Constitution("test", (whole, *found), rounds=rounds),
    st.lists(principles, max_size=6, unique_by=lambda p: p.slug),
    policies,
)
categories = st.sampled_from([None, *CATEGORIES, "other"])
prompt_ids = st.text(max_size=12) | st.sampled_from(['"', "\\", "\n\t\x00", "é\u2028😊", "prm_1"])


def chain(c: Constitution, prompt_id: str, rounds: int, category: str | None = None) -> list[str]:
    return [p.slug for p in Assigner(c).principles(prompt_id, rounds, category)]


@settings(max_examples=150, deadline=None)
@given(constitutions, prompt_ids, st.integers(0, 9), categories)
def test_it_is_the_documented_rule(
    c: Constitution, prompt_id: str, rounds: int, category: str | None
) -> None:
    found = chain(c, prompt_id, rounds, category)
    assert found == plainly(c, prompt_id, rounds, category)
    assert found == [assign(c, prompt_id, r, category).slug for r in range(rounds)]


@settings(max_examples=60, deadline=None)
@given(constitutions, st.lists(st.tuples(prompt_ids, categories), max_size=8), st.randoms())
def test_neither_order_nor_what_was_asked_before_matters(
    c: Constitution, asked: list[tuple[str, str | None]], order: random.Random
) -> None:
    shuffled = list(c.principles)
    order.shuffle(shuffled)
    assigner = Assigner(replace(c, principles=tuple(shuffled)))
    again = [*asked, *asked]
    order.shuffle(again)
    for prompt_id, category in again:
        found = [p.slug for p in assigner.principles(prompt_id, 4, category)]
        assert found == chain(c, prompt_id, 4, category)


@settings(max_examples=60, deadline=None)
@given(constitutions, policies, prompt_ids, st.integers(0, 5))
def test_what_a_round_may_use_leaves_earlier_rounds_alone(
    c: Constitution, other: tuple[tuple[str, ...], ...], prompt_id: str, round: int
) -> None:
    same = tuple(c.tags_of(r) for r in range(round))
    edited = replace(c, rounds=same + other)
    assert chain(edited, prompt_id, round) == chain(c, prompt_id, 8)[:round]


@settings(max_examples=60, deadline=None)
@given(constitutions, prompt_ids, st.integers(1, 8))
def test_a_principle_comes_again_only_where_all_that_may_have_come_as_often(
    c: Constitution, prompt_id: str, rounds: int
) -> None:
    found = chain(c, prompt_id, rounds)
    for round, slug in enumerate(found):
        may = {p.slug for p in applicable(c, None, c.tags_of(round))}
        before = Counter(found[:round])
        assert slug in may
        assert all(before[slug] <= before[other] for other in may)


def with_tags(rounds: tuple[tuple[str, ...], ...] = ()) -> Constitution:
    found = [principle(f"rule-{i}", tags=("even", "odd")[i % 2 :][:1]) for i in range(8)]
    return Constitution("test", tuple(found), rounds=rounds)


def test_a_policy_decides_which_tags_a_round_uses() -> None:
    c = with_tags((("even",), (), ("odd", "even"), ("odd",)))
    chains = [chain(c, i, 6) for i in IDS[:200]]
    assert {found[0] for found in chains} == {"rule-0", "rule-2", "rule-4", "rule-6"}
    assert {found[1] for found in chains} == {p.slug for p in c.principles}
    assert {found[3] for found in chains} == {"rule-1", "rule-3", "rule-5", "rule-7"}
    assert all(len(set(found)) == 6 for found in chains), "without replacement across tags"


def test_the_policy_of_one_round_leaves_the_draws_of_others() -> None:
    plain, tagged = with_tags(), with_tags(((), ("even",)))
    for prompt_id in IDS[:100]:
        before, after = chain(plain, prompt_id, 2), chain(tagged, prompt_id, 2)
        assert before[0] == after[0]
        assert before[1] == after[1] or int(before[1][-1]) % 2 == 1


def test_without_policy_the_chains_are_those_of_before() -> None:
    c, first = of(5), "".join(p.slug[-1] for p in Assigner(of(5)).principles(IDS[0], 12))
    assert first == "".join(plain[-1] for plain in plainly(c, IDS[0], 12, None))
    assert [sorted(first[start : start + 5]) for start in (0, 5)] == [list("01234")] * 2


GOLDEN = ["5714306276", "7651302467", "7215640357", "7364105261"]


def test_golden_chains_hold_for_ever() -> None:
    weighted = with_tags((("odd",), ("even", "odd"), ()))
    weighted = replace(
        weighted,
        principles=tuple(
            replace(p, weight=w) for p, w in zip(weighted.principles, range(1, 9), strict=True)
        ),
    )
    found = ["".join(slug[-1] for slug in chain(weighted, i, 10)) for i in (*IDS[:3], 'é"\\\n')]
    assert found == GOLDEN


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = (
        "import json; from constitution.assign import Assigner\n"
        "from constitution.load import load, resolve\n"
        "a = Assigner(load(resolve('default')))\n"
        "print(json.dumps([[p.slug for p in a.principles(f'prm_{i}', 3)] for i in range(50)]))"
    )
    outputs = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    default = Assigner(load(resolve("default")))
    here = [[p.slug for p in default.principles(f"prm_{i}", 3)] for i in range(50)]
    assert outputs == {json.dumps(here) + "\n"}


def test_a_round_that_leaves_a_category_nothing() -> None:
    c = Constitution("test", (principle("a", tags=("x",), applies_to=("art",)), principle("b")))
    c = replace(c, rounds=((), ("x",)))
    assert chain(c, "prm_1", 2, "art")
    with pytest.raises(ConstitutionError, match=r"'law': .* tags of round 1 applies .* tagged x"):
        Assigner(c).principles("prm_1", 2, "law")
    assert chain(c, "prm_1", 1, "law") == ["b"]


def test_no_rounds_are_no_principles() -> None:
    assert Assigner(of(2)).principles("prm_1", 0) == ()


def test_equal_draws_go_to_the_slug_that_sorts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("constitution.assign.draw", lambda digest, weight: 1.0)
    found = (principle("b", title="1"), principle("a", title="2"), principle("c"))
    c = Constitution("test", found)
    assert chain(c, "prm_1", 4) == ["a", "b", "c", "a"]


def test_weights_are_shares_among_what_a_round_may_use() -> None:
    weights = {"a": 1.0, "b": 3.0, "c": 96.0}
    found = [principle(s, w, tags=("t",) if s != "c" else ()) for s, w in weights.items()]
    c = Constitution("test", tuple(found), rounds=(("t",),))
    share = Counter(chain(c, i, 1)[0] for i in IDS)["b"] / len(IDS)
    assert abs(share - 0.75) <= 3 * math.sqrt(0.75 * 0.25 / len(IDS))


def test_a_round_makes_one_draw_a_principle(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 20 µs for 22 of them; a run of 100,000 prompts makes millions."""
    draws: list[float] = []

    def counted(digest: bytes, weight: float) -> float:
        draws.append(weight)
        return draw(digest, weight)

    monkeypatch.setattr("constitution.assign.draw", counted)
    assigner = Assigner(of(22))
    for prompt_id in IDS[:200]:
        assigner.principles(prompt_id, 1)
    assert len(draws) == 200 * 22
