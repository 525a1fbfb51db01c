"""Every kind of edit: planned, then done, on public prompts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a minute of planning and making rows, with no model

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_plan_is_what_happens(tmp_path: Path, rounds: int) -> None:
    import edits

    if not DATA.is_dir():
        pytest.skip("the public prompt sets are not there")
    edits.write_prompts(tmp_path / "prompts.jsonl", DATA, 300)
    found = list(edits.measure(tmp_path / "home", tmp_path / "prompts.jsonl", rounds))
    assert [fault for outcome in found for fault in outcome.faults] == []
    cost = {outcome.edit.name: sum(outcome.made.values()) for outcome in found}
    assert cost["(everything, at first)"] == 300 * (1 + 2 * rounds)
    for free in ("undo it", "put them in another order", "new titles and tags", "undo everything"):
        assert cost[free] == 0
    assert cost["other indentation of the file"] == 0
    assert 0 < cost["critique request of one principle"] < 300
    assert 0 < cost["`max_new_tokens` doubled"] < cost["(everything, at first)"]


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_plan_is_what_happens_with_every_source(tmp_path: Path, rounds: int) -> None:
    """Counts by step that are told beforehand, of prompts and words alone, are exact."""
    import edited
    import edits_of_sources

    if not DATA.is_dir():
        pytest.skip("the public prompt sets are not there")
    edited.write_prompts(tmp_path / "prompts.jsonl", DATA, 120)
    found = list(edits_of_sources.measure(tmp_path / "home", tmp_path / "prompts.jsonl", rounds))
    assert {outcome.edit.name: outcome.faults for outcome in found if outcome.faults} == {}
    cost = {outcome.edit.name: sum(outcome.made.values()) for outcome in found}
    free = ("undo it", "order and tags", "indentation of the file", "the judge's margin")
    assert [cost[name] for name in (*free, "undo everything")] == [0] * 5
    assert all(cost[name] for name in cost.keys() - {*free, "undo everything"})
