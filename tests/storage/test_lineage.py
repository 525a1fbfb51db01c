from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import InputError
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.lineage import trace


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
