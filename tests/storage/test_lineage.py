from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import lineage_walk
from storage.errors import InputError
from storage.ids import content_id, kind_of
from storage.ledger import Ledger, insert, now, point
from storage.lineage import boxes, trace, traced
from storage.lineage_walk import Direction
from storage.lookup import opened


def the(kind: str, name: str) -> str:
    return content_id(kind, name)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two principles, two rounds of one prompt, a pair, a snapshot, SFT and PPO."""
    ledger = Ledger(tmp_path / "ledger.duckdb")
    created = {"created_at": now()}
    with ledger.transaction() as con:
        insert(
            con,
            "principles",
            [
                {
                    "principle_id": the("principle", slug),
                    "slug": slug,
                    "title": slug,
                    "critique": "c",
                    "revision": "r",
                    "comparison": "q",
                }
                | created
                for slug in ("kind", "true", "unused")
            ],
        )
        completions = {
            "draft": None,
            "critique0": "kind",
            "revision0": "kind",
            "critique1": "true",
            "revision1": "true",
        }
        insert(con, "completions", [completion(name, slug) for name, slug in completions.items()])
        insert(con, "revisions", [revision(0, "kind", "draft"), revision(1, "true", "revision0")])
        pair = {
            "pair_id": the("pair", "p"),
            "prompt_id": the("prompt", "p"),
            "chosen_completion_id": the("completion", "revision1"),
            "rejected_completion_id": the("completion", "draft"),
            "chosen": "good",
            "rejected": "bad",
            "source": "revision",
            "preference": 1.0,
            "revision_id": the("revision", "1"),
        }
        insert(con, "pairs", [pair | created])
        member = {
            "dataset_id": the("dataset", "d"),
            "row_id": the("pair", "p"),
            "is_held_out": False,
        }
        insert(con, "dataset_rows", [member])
        insert(con, "checkpoints", [checkpoint("sft", [], []), checkpoint("ppo", ["sft"], ["sft"])])
    point(ledger, "latest/ppo", the("checkpoint", "ppo"))
    return ledger


def completion(name: str, slug: str | None) -> dict[str, object]:
    return {
        "completion_id": the("completion", name),
        "cut_at": 0,
        "model_id": the("model", "m"),
        "prompt_id": the("prompt", "p"),
        "principle_id": the("principle", slug) if slug else None,
        "few_shot_id": None,
        "run_id": "run_x",
        "step": name.rstrip("01"),
        "round": None,
        "request": "[]",
        "text": name,
        "finish_reason": "stop",
        "temperature": 1.0,
        "top_p": 1.0,
        "sample_index": 0,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "engine": "e",
        "device": "cpu",
        "dtype": "float32",
        "batch_rows": 1,
        "duration_s": 0.1,
        "created_at": now(),
    }


def revision(round: int, slug: str, response: str) -> dict[str, object]:
    return {
        "revision_id": the("revision", str(round)),
        "prompt_id": the("prompt", "p"),
        "principle_id": the("principle", slug),
        "response_completion_id": the("completion", response),
        "critique_completion_id": the("completion", f"critique{round}"),
        "revision_completion_id": the("completion", f"revision{round}"),
        "example_id": None,
        "pair_id": the("pair", "p") if round else None,
        "run_id": "run_x",
        "round": round,
        "created_at": now(),
    }


def checkpoint(name: str, parents: list[str], roles: list[str]) -> dict[str, object]:
    return {
        "checkpoint_id": the("checkpoint", name),
        "base_model_id": the("model", "m"),
        "dataset_id": the("dataset", "d"),
        "constitution_id": None,
        "run_id": "run_x",
        "parent_ids": [the("checkpoint", parent) for parent in parents],
        "parent_roles": roles,
        "stage": name,
        "components": "{}",
        "path": "x",
        "duration_s": 1.0,
        "device": "cpu",
        "created_at": now(),
    }


def test_why_reaches_both_rounds_principles_and_nothing_else(ledger: Ledger) -> None:
    found = trace(ledger, "latest/ppo", "up")
    assert found["id"] == the("checkpoint", "ppo")
    slugs = {node["label"] for node in found["nodes"].values() if node["kind"] == "principle"}
    assert slugs == {"kind", "true"}
    assert found["counts"] == {
        "checkpoint": 1,
        "completion": 5,
        "dataset": 1,
        "model": 1,
        "pair": 1,
        "principle": 2,
        "prompt": 1,
        "revision": 1,
    }


def test_impact_of_the_first_rounds_principle_reaches_the_checkpoint(ledger: Ledger) -> None:
    found = trace(ledger, "kind", "down")
    assert the("checkpoint", "ppo") in found["nodes"]
    assert the("completion", "draft") not in found["nodes"]
    assert found["counts"]["completion"] == 4


def test_a_principle_that_made_nothing_reached_nothing(ledger: Ledger) -> None:
    assert trace(ledger, "unused", "down")["counts"] == {}


def test_the_start_of_an_id_is_enough_and_an_unknown_name_is_refused(ledger: Ledger) -> None:
    assert trace(ledger, the("checkpoint", "sft")[:12], "up")["id"] == the("checkpoint", "sft")
    for name in ("nothing", "ckp_zzz", "'; DROP TABLE refs; --"):
        with pytest.raises(InputError):
            trace(ledger, name, "up")


DIRECTIONS: tuple[Direction, ...] = ("up", "down")


def up_or_down(edges: set[tuple[str, str]], start: str, direction: str) -> set[tuple[str, str]]:
    """The edges behind `start` by plain search over pairs (child, parent)."""
    end = 0 if direction == "up" else 1
    reached, found = [start], set[tuple[str, str]]()
    while reached:
        row_id = reached.pop()
        for edge in edges:
            if edge[end] == row_id and edge not in found:
                found.add(edge)
                reached.append(edge[1 - end])
    return found


def fill_at_random(ledger: Ledger, chance: random.Random, prompts: int) -> None:
    """A ledger of many shapes: rounds, shared rows, checkpoints that models are made from."""

    def some(kind: str, count: int) -> str:
        return the(kind, str(chance.randrange(count)))

    with ledger.transaction() as con:
        tables = "completions revisions comparisons pairs examples dataset_rows checkpoints models"
        for table in tables.split():
            con.execute(f"DELETE FROM {table}")
        rows = []
        for n in range(prompts):
            for name in ("draft", "critique0", "revision0", "critique1", "revision1"):
                row = completion(f"{name} {n}", None) | {"step": name.rstrip("01")}
                row |= {"model_id": some("model", 3), "prompt_id": some("prompt", prompts)}
                rows.append(row | {"few_shot_id": some("few_shot", 2) if "d" not in name else None})
        insert(con, "completions", rows)
        revised = [
            revision(r, "x", f"{'revision0' if r else 'draft'} {n}")
            | {
                "revision_id": the("revision", f"{r} {n}"),
                "principle_id": some("principle", 3),
                "critique_completion_id": the("completion", f"critique{r} {n}"),
                "revision_completion_id": the("completion", f"revision{r} {n}"),
                "example_id": some("example", prompts) if chance.random() < 0.6 else None,
                "pair_id": some("pair", prompts) if chance.random() < 0.6 else None,
            }
            for r in (0, 1)
            for n in range(prompts)
            if chance.random() < 0.8
        ]
        insert(con, "revisions", revised)
        asked = [comparison(n, f"draft {n}", f"revision0 {n}") for n in range(prompts)]
        reasoned = {"forward_reasoning_id": the("completion", "critique1 0")}
        reasoned |= {"backward_reasoning_id": the("completion", "critique0 0")}
        insert(con, "comparisons", [asked[0] | reasoned, *asked[1:]])
        makers = [None, *(str(row["revision_id"]) for row in revised)]
        by = [chance.choice(makers) for _ in range(2 * prompts)]
        pairs = [pair(str(n), f"draft {n}") | {"revision_id": by[n]} for n in range(prompts)]
        insert(con, "pairs", pairs)
        insert(con, "examples", [example(str(n), by[n - prompts]) for n in range(prompts)])
        kinds = ("pair", "example", "prompt")
        members = {(some("dataset", 3), some(chance.choice(kinds), prompts)) for _ in range(9)}
        columns = ("dataset_id", "row_id", "is_held_out")
        insert(con, "dataset_rows", [dict(zip(columns, (*m, False), strict=True)) for m in members])
        stages = ["0", "1", "2"]
        insert(
            con,
            "checkpoints",
            [
                checkpoint(stage, stages[:n], stages[:n])
                | {"dataset_id": some("dataset", 3), "base_model_id": some("model", 3)}
                for n, stage in enumerate(stages)
            ],
        )
        insert(con, "models", [model("1", "0", None), model("2", None, "1")])


def comparison(number: int, first: str, second: str) -> dict[str, object]:
    return {
        "comparison_id": the("comparison", str(number)),
        "prompt_id": the("prompt", str(number)),
        "principle_id": the("principle", str(number % 2)),
        "model_id": the("model", str(number % 3)),
        "few_shot_id": the("few_shot", "judge") if number else None,
        "run_id": "run_x",
        "first_completion_id": the("completion", first),
        "first_cut_at": 0,
        "second_completion_id": the("completion", second) if number != 1 else None,
        "second_cut_at": 0,
        "method": "logprobs",
        "forward": 0.75,
        "backward": None,
        "preference": None,
        "forward_reasoning_id": None,
        "backward_reasoning_id": None,
        "forward_verdicts": [],
        "backward_verdicts": ["A"],
        "unparsed": 0,
        "engine": "e",
        "device": "cpu",
        "dtype": "float32",
        "duration_s": 0.1,
        "created_at": now(),
    }


def pair(name: str, rejected: str) -> dict[str, object]:
    return {
        "pair_id": the("pair", name),
        "prompt_id": the("prompt", "p"),
        "chosen_completion_id": the("completion", "x"),
        "rejected_completion_id": the("completion", rejected),
        "chosen": "good",
        "rejected": "bad",
        "source": "revision",
        "preference": 1.0,
        "created_at": now(),
    }


def example(name: str, revision_id: str | None) -> dict[str, object]:
    return {
        "example_id": the("example", name),
        "prompt_id": the("prompt", "p"),
        "completion_id": the("completion", "x"),
        "response": "good",
        "source": "revision",
        "revision_id": revision_id,
        "created_at": now(),
    }


def model(name: str, base: str | None, checkpoint: str | None) -> dict[str, object]:
    return {
        "model_id": the("model", name),
        "base_model_id": the("model", base) if base else None,
        "checkpoint_id": the("checkpoint", checkpoint) if checkpoint else None,
        "kind": "random",
        "reference": name,
        "created_at": now(),
    }


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32), whole_from=st.sampled_from([1, 10_000]))
def test_the_walk_finds_what_a_search_over_the_view_finds(seed: int, whole_from: int) -> None:
    """Also where the walk takes its short cut for kinds of which every row is reached."""
    chance = random.Random(seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineage_walk, "WHOLE_FROM", whole_from)
        ledger = Ledger(Path(folder) / "ledger.duckdb")
        fill_at_random(ledger, chance, 3)
        edges = {
            (row["child_id"], row["parent_id"], row["role"])
            for row in ledger.query("SELECT * FROM lineage_edges")
        }
        ids = sorted({end for child, parent, _ in edges for end in (child, parent)})
        for start in chance.sample(ids, 3):
            for direction in DIRECTIONS:
                compare(ledger, edges, start, direction)


def compare(
    ledger: Ledger, edges: set[tuple[str, str, str]], start: str, direction: Direction
) -> None:
    reached = up_or_down({edge[:2] for edge in edges}, start, direction)
    with ledger.transaction() as con:
        found = traced(con, [start], direction)
    assert {(e["child"], e["parent"], e["role"]) for e in found["edges"]} == {
        edge for edge in edges if edge[:2] in reached
    }
    ids = {end for edge in reached for end in edge} | {start}
    assert set(found["nodes"]) == ids
    expected = Counter(kind_of(row_id) for row_id in ids - {start})
    assert found["counts"] == expected


@pytest.fixture
def many(ledger: Ledger) -> Ledger:
    """The ledger with its model's row and nine completions more."""
    with ledger.transaction() as con:
        insert(con, "models", [model("m", None, None)])
        insert(con, "completions", [completion(f"more {n}", None) for n in range(9)])
    return ledger


def test_a_part_of_a_lineage_has_the_counts_of_all_of_it(many: Ledger) -> None:
    whole = trace(many, the("model", "m"), "down")
    assert whole["truncated"] is False
    part = trace(many, the("model", "m"), "down", fan_out=2)
    assert part["truncated"] is True
    assert part["counts"] == whole["counts"]
    assert 2 < len(part["nodes"]) < len(whole["nodes"])
    edges = {(e["child"], e["parent"], e["role"]) for e in part["edges"]}
    assert edges == {
        (e["child"], e["parent"], e["role"])
        for e in whole["edges"]
        if {e["child"], e["parent"]} <= set(part["nodes"])
    }
    assert trace(many, the("model", "m"), "down", fan_out=14)["truncated"] is False


def test_a_chart_draws_many_rows_as_one_box(many: Ledger) -> None:
    with opened(many, the("model", "m")) as (con, ids):
        drawn = boxes(con, ids, "down")
    assert drawn["nodes"]["completion"]["count"] == 14
    assert {"child": "completion", "parent": the("model", "m"), "role": "model"} in drawn["edges"]
    assert {"child": "completion", "parent": "completion", "role": "response"} in drawn["edges"]
    assert {end for e in drawn["edges"] for end in (e["child"], e["parent"])} <= set(drawn["nodes"])


def test_a_chart_keeps_the_row_that_was_asked_for(many: Ledger) -> None:
    with many.transaction() as con:
        insert(con, "revisions", [others(n) for n in range(9)])
    draft, box = the("completion", "draft"), "completion"
    with opened(many, draft) as (con, ids):
        drawn = boxes(con, ids, "down")
    assert drawn["nodes"][draft]["label"] == "draft"
    assert drawn["nodes"][box]["count"] == 13
    edges = [edge for edge in drawn["edges"] if box in (edge["child"], edge["parent"])]
    assert {"child": box, "parent": draft, "role": "response"} in edges
    assert {"child": box, "parent": box, "role": "response"} in edges
    assert [edge for edge in drawn["edges"] if edge["child"] == draft] == []


def others(number: int) -> dict[str, object]:
    """Another revision of the draft."""
    return revision(0, "kind", "draft") | {
        "revision_id": the("revision", f"other {number}"),
        "revision_completion_id": the("completion", f"more {number}"),
    }


def test_a_completion_with_a_row_a_limit_counts_once(
    many: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage_walk, "WHOLE_FROM", 1)
    with many.transaction() as con:
        insert(con, "completions", [completion("draft", None) | {"cut_at": 64}])
    assert trace(many, the("model", "m"), "down")["counts"]["completion"] == 14
