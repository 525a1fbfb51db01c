"""Two checkpoints: what differs in their keys and measures, and in the rows they came from."""

from __future__ import annotations

from typing import Any

from flows.explain.compare.build import compare
from flows.explain.compare.describe import sections
from flows.explain.compare.report import Measure

PARTS = {"stage": "sft", "settings": {"lr": 0.1, "epochs": 1}, "seed": 7, "code": "abc"}


def test_components_by_dotted_name(book: Any) -> None:
    rows = book.preferences([book.made("p1", "d", "r")])
    a = book.checkpoint("a", "dpo", rows, components=PARTS)
    b = book.checkpoint("b", "dpo", rows, components=PARTS | {"settings": {"lr": 0.2, "epochs": 1}})
    report = compare(book.ledger, a, b, 50)
    changed = report.checkpoint.components  # type: ignore[union-attr]
    assert [(c.component, c.before, c.after) for c in changed] == [("settings.lr", 0.1, 0.2)]
    assert f"same preferences rows, {rows}" in " ".join(report.notes)
    assert report.snapshots == ()


def test_measures_side_by_side(book: Any) -> None:
    rows = book.preferences([book.made("p1", "d", "r")])
    a = book.checkpoint("a", "evaluate", rows, components=PARTS)
    b = book.checkpoint("b", "evaluate", rows, components=PARTS | {"seed": 8})
    book.metric(a, "dpo/reward", 0.5, low=0.1, high=0.9, sample_count=14)
    book.metric(b, "dpo/reward", 0.7, low=0.3, high=1.1, sample_count=14)
    book.metric(b, "loss", 2.0, step=1)
    book.metric(b, "loss", 1.0, step=9)
    report = compare(book.ledger, a, b, 50)
    assert [section.title for section in sections(report)][:2] == ["Measures", "Key"]
    found = report.checkpoint
    metrics = {row.name: (row.a, row.b) for row in found.metrics}  # type: ignore[union-attr]
    assert metrics["dpo/reward"] == (Measure(0.5, 0.1, 0.9, 14), Measure(0.7, 0.3, 1.1, 14))
    assert metrics["loss"] == (None, Measure(1.0, None, None, None))


def test_rows_are_found_behind_the_parents(book: Any) -> None:
    """PPO learns from prompts; its reward model learned from the pairs."""
    book.snapshot("dst_prompts", "prompts", "run_1", [], [])
    ids = []
    for name, text in (("a", "one"), ("b", "two")):
        pairs = book.preferences([book.made("p1", "d", text)])
        reward = book.checkpoint(f"r{name}", "reward", pairs)
        parents = {"reward": reward}
        ids.append(book.checkpoint(name, "ppo", "dst_prompts", parents=parents, components=PARTS))
    report = compare(book.ledger, ids[0], ids[1], 50)
    assert [(s.rows, s.changed) for s in report.snapshots] == [("preferences", 1)]
    assert "same prompts rows" in " ".join(report.notes)


def test_the_same_checkpoint_twice(book: Any) -> None:
    rows = book.preferences([book.made("p1", "d", "r")])
    a = book.checkpoint("a", "dpo", rows, components=PARTS)
    report = compare(book.ledger, a, "ckp_a", 50)
    assert report.same
    assert report.to_json()["checkpoint"] is None
