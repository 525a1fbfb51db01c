"""Two snapshots: counts by prompt, flips, what every principle did, the texts that changed."""

from __future__ import annotations

from typing import Any

import pytest

from flows.explain.compare import snapshots
from flows.explain.compare.build import compare
from flows.explain.compare.describe import left_out_line
from storage.errors import InputError
from storage.ledger import now


def of(book: Any, a: str, b: str, limit: int = 50) -> Any:
    return compare(book.ledger, a, b, limit)


def test_prompts_are_same_changed_appeared_and_vanished(book: Any) -> None:
    same = book.made("p1", "draft", "better")
    a = book.preferences([same, book.made("p2", "d", "one"), book.made("p3", "d", "r")])
    b = book.preferences([same, book.made("p2", "d", "two"), book.made("p4", "d", "r")])
    found = of(book, a, b).snapshots[0]
    assert (found.same, found.changed, found.appeared, found.vanished) == (1, 1, 1, 1)
    assert [(t.prompt, t.a.response, t.b.response) for t in found.texts] == [("p2", "one", "two")]
    assert found.left_out == 0


def test_a_flip_is_chosen_before_and_rejected_after(book: Any) -> None:
    a = book.preferences([book.made("p1", "bad", "good"), book.made("p2", "x", "y")])
    b = book.preferences([book.made("p1", "good", "bad"), book.made("p2", "x", "z")])
    found = of(book, a, b).snapshots[0]
    assert found.flips == 1
    assert {t.prompt: t.is_flip for t in found.texts} == {"p1": True, "p2": False}


def test_half_a_flip_is_none_whichever_comes_first(book: Any) -> None:
    a = book.preferences([book.made("p1", "bad", "good")])
    b = book.preferences([book.made("p1", "good", "best")])
    for sides in ((a, b), (b, a)):
        found = of(book, *sides).snapshots[0]
        assert (found.flips, [t.is_flip for t in found.texts]) == (0, [False])


def test_what_a_run_left_out_by_ablation_was_not_unchanged(book: Any) -> None:
    gone = book.made("p2", "same", "same", slug="be-kind")
    a = book.preferences([book.made("p1", "d", "r")], unchanged=[gone])
    b = book.preferences([book.made("p1", "d", "s")])
    whole = of(book, a, b).snapshots[0].principles
    assert [use.slug for use in whole] == ["be-brief", "be-kind"]
    with book.ledger.transaction() as con:
        con.execute("INSERT INTO exclusions SELECT * REPLACE ('ablated' AS reason) FROM exclusions")
    assert [use.slug for use in of(book, a, b).snapshots[0].principles] == ["be-brief"]


def test_what_each_principle_did(book: Any) -> None:
    rows = [
        book.made("p1", "aaaa bbbb", "aaaa"),  # 5 of 9 bytes removed
        book.made("p2", "abcd", "abce"),  # 1 of 4 changed
        book.made("p3", "kind draft", "a kind\ndraft", slug="be-kind"),
    ]
    unchanged = [book.made("p4", "same", "same"), book.made("p5", "t", "t", slug="be-true")]
    a = book.preferences(rows, unchanged=unchanged)
    b = book.preferences(rows[:2])
    found = {use.slug: use for use in of(book, a, b).snapshots[0].principles}
    brief = found["be-brief"].a
    assert (brief.rows, brief.unchanged, brief.sampled) == (2, 1, 2)
    assert brief.no_change_rate == pytest.approx(1 / 3)
    assert brief.edit_distance == pytest.approx((5 / 9 + 1 / 4) / 2)
    assert (brief.words, brief.characters) == (1.0, 4.0)
    assert found["be-kind"].a.words == 3.0
    assert found["be-kind"].b is None
    assert (found["be-true"].a.rows, found["be-true"].a.no_change_rate) == (0, 1.0)


def test_a_row_counts_for_the_principle_in_force(book: Any) -> None:
    """The same texts may have come from two principles, whoever assembled them first."""
    ids = []
    for slug, other in (("be-brief", "p2"), ("be-kind", "p3")):
        made = [book.made(prompt, "d", "r", slug=slug) for prompt in ("p1", other)]
        ids.append(book.preferences(made, rules=book.constitution(book.principle(slug))))
    with book.ledger.transaction() as con:
        con.execute("UPDATE revisions SET run_id = 'another', created_at = '2026-01-01'")
    found = of(book, *ids).snapshots[0]
    rows = {u.slug: (u.a and u.a.rows, u.b and u.b.rows) for u in found.principles}
    assert rows == {"be-brief": (2, None), "be-kind": (None, 2)}


def test_the_largest_edits_come_first_and_the_rest_is_counted(book: Any) -> None:
    a = book.preferences([book.made(f"p{n}", "d", "w " * 9) for n in range(6)])
    b = book.preferences(
        [book.made(f"p{n}", "d", " ".join(f"v{i}" for i in range(n + 1))) for n in range(6)]
    )
    found = of(book, a, b, limit=2).snapshots[0]
    assert [t.prompt for t in found.texts] == ["p5", "p4"]
    assert found.left_out == 4
    assert of(book, a, b, limit=0).snapshots[0].left_out == 6


def test_of_very_many_rows_only_the_first_are_ranked(book: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(snapshots, "RANKED_ROWS", 2)
    a, b = (
        book.preferences([book.made(f"p{n}", "d", f"{word} {n}") for n in range(5)])
        for word in ("one", "two")
    )
    found = of(book, a, b).snapshots[0]
    assert (len(found.texts), found.left_out) == (2, 3)
    assert left_out_line(found).endswith("(of the first 2 by id)")


def test_a_sample_stops_where_it_would_cost_too_much(book: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(snapshots, "SAMPLE_CELLS", 100 * 2)  # for one principle on two sides
    a = book.preferences([book.made(f"p{n}", "d" * 6, "r" * 6) for n in range(5)])
    b = book.preferences([book.made(f"p{n}", "d" * 6, "s" * 90) for n in range(5)])
    use = of(book, a, b).snapshots[0].principles[0]
    assert (use.a.sampled, use.a.edit_distance) == (2, 1.0)
    assert (use.b.sampled, use.b.edit_distance) == (0, None)


def test_another_split_of_the_same_rows_is_seen(book: Any) -> None:
    stays = [book.made("p1", "d", "r"), book.made("p2", "d", "r", is_held_out=True)]
    a = book.preferences([*stays, book.made("p3", "d", "r")])
    b = book.preferences([*stays, book.made("p3", "d", "r", is_held_out=True)])
    found = of(book, a, b).snapshots[0]
    assert (found.same, found.moved_split, found.changed) == (3, 1, 0)


def test_several_rows_of_a_prompt_are_lined_up(book: Any) -> None:
    a = book.preferences([book.made("p", "d1", "r1"), book.made("p", "d2", "r2")])
    b = book.preferences([book.made("p", "d1", "r1")])
    found = of(book, a, b).snapshots[0]
    assert [(t.a.response, t.b) for t in found.texts] == [("r2", None)]


def test_the_constitutions_in_force_are_compared(book: Any) -> None:
    after = book.reworded(book.rules, "be-brief", critique="What is too long?")
    a = book.preferences([book.made("p1", "d", "r")])
    b = book.preferences([book.made("p1", "d", "s")], rules=after)
    report = of(book, a, b)
    assert [p.slug for p in report.constitution.principles] == ["be-brief"]
    same = of(book, a, book.preferences([book.made("p1", "d", "t")]))
    assert same.constitution is None
    assert "same constitution" in same.notes[0]


def test_sft_rows_are_compared_by_their_response(book: Any) -> None:
    run = book.run("run_1")
    a, b = (_sft(book, run, name, text) for name, text in (("dst_a", "one"), ("dst_b", "two")))
    found = of(book, a, b).snapshots[0]
    assert (found.rows, found.changed, found.flips) == ("sft", 1, None)
    assert (found.texts[0].a.response, found.texts[0].a.rejected) == ("one", None)
    assert found.principles[0].a.edit_distance == pytest.approx(1.0)


def test_sft_rows_say_how_many_say_the_same_as_the_response(book: Any) -> None:
    """Whatever the last round's revision is to the draft, of which pairs are made."""
    run = book.run("run_1")
    a, b = (_sft(book, run, name, text) for name, text in (("dst_a", "one"), ("dst_b", "XYZ!")))
    left_out = {"run_id": run, "row_id": "rev_one", "step": "pairs", "reason": "unchanged"}
    book.insert("exclusions", [left_out | {"created_at": now()}])
    use = of(book, a, b).snapshots[0].principles[0]
    assert (use.a.unchanged, use.a.no_change_rate) == (0, 0.0)
    assert (use.b.unchanged, use.b.no_change_rate) == (1, 1.0)


def _sft(book: Any, run: str, name: str, text: str) -> str:
    from tasks.generation.calls import principle_id

    at = {"created_at": now()}
    book.insert(
        "examples",
        [{"example_id": f"exm_{text}", "prompt_id": "prm", "response": text, "source": "x"} | at],
    )
    link = {f"{part}_completion_id": f"cmp_{part}" for part in ("response", "critique", "revision")}
    link |= {"revision_id": f"rev_{text}", "prompt_id": "prm", "example_id": f"exm_{text}"}
    link |= {"principle_id": principle_id(book.rules.principles[0]), "run_id": run}
    book.insert("revisions", [link | {"round": 0} | at])
    numbers = {"temperature": 0.0, "top_p": 1.0, "duration_s": 0.0}
    counts = dict.fromkeys(("sample_index", "prompt_tokens", "completion_tokens", "batch_rows"), 0)
    draft = {"completion_id": "cmp_response", "cut_at": 0, "model_id": "mdl", "prompt_id": "prm"}
    draft |= {"run_id": run, "step": "draft", "request": "[]", "text": "xyz"}
    draft |= {"finish_reason": "stop", "engine": "e", "device": "cpu", "dtype": "f"}
    book.insert("completions", [draft | numbers | counts | at])
    book.snapshot(name, "sft", run, [f"exm_{text}"], [])
    return name


def test_snapshots_of_different_rows_are_refused(book: Any) -> None:
    pairs = book.preferences([book.made("p1", "d", "r")])
    book.snapshot("dst_sft", "sft", "run_1", [], [])
    with pytest.raises(InputError, match="one kind"):
        of(book, pairs, "dst_sft")
